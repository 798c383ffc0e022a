# Plans the whole installation with a mocked provider: nothing is asked of AWS.

mock_provider "aws" {
  alias = "us"

  mock_data "aws_region" {
    defaults = { region = "us-east-1" }
  }

  mock_resource "aws_acm_certificate" {
    defaults = {
      domain_validation_options = [{
        domain_name           = "shop.example.com"
        resource_record_name  = "_proof.shop.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_proof.acm.example.com"
      }]
    }
  }
}

mock_provider "aws" {
  alias = "eu"

  mock_data "aws_region" {
    defaults = { region = "eu-central-1" }
  }

  mock_resource "aws_acm_certificate" {
    defaults = {
      domain_validation_options = [{
        domain_name           = "shop.example.com"
        resource_record_name  = "_proof.shop.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_proof.acm.example.com"
      }]
    }
  }
}

mock_provider "aws" {
  alias = "asia"

  mock_data "aws_region" {
    defaults = { region = "ap-northeast-1" }
  }

  mock_resource "aws_acm_certificate" {
    defaults = {
      domain_validation_options = [{
        domain_name           = "shop.example.com"
        resource_record_name  = "_proof.shop.example.com"
        resource_record_type  = "CNAME"
        resource_record_value = "_proof.acm.example.com"
      }]
    }
  }
}

variables {
  account_id     = "123456789012"
  domain         = "shop.example.com"
  public_zone_id = "Z0123456789ABCDEFGHIJ"

  regions = {
    us = {
      title              = "Virginia, United States"
      aws_region         = "us-east-1"
      availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
      cidr               = "10.10.0.0/16"
      postgres_image     = "ami-00000000000000001"
      edge_image         = "123456789012.dkr.ecr.us-east-1.amazonaws.com/storefront@sha256:0000000000000000000000000000000000000000000000000000000000000001"
      collector_image    = "123456789012.dkr.ecr.us-east-1.amazonaws.com/collector@sha256:0000000000000000000000000000000000000000000000000000000000000002"
    }
    eu = {
      title              = "Frankfurt, Germany"
      aws_region         = "eu-central-1"
      availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
      cidr               = "10.20.0.0/16"
      postgres_image     = "ami-00000000000000002"
      edge_image         = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/storefront@sha256:0000000000000000000000000000000000000000000000000000000000000001"
      collector_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/collector@sha256:0000000000000000000000000000000000000000000000000000000000000002"
    }
    asia = {
      title              = "Tokyo, Japan"
      aws_region         = "ap-northeast-1"
      availability_zones = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]
      cidr               = "10.30.0.0/16"
      postgres_image     = "ami-00000000000000003"
      edge_image         = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/storefront@sha256:0000000000000000000000000000000000000000000000000000000000000001"
      collector_image    = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com/collector@sha256:0000000000000000000000000000000000000000000000000000000000000002"
    }
  }
}

run "everything" {
  command = plan

  assert {
    condition     = keys(yamldecode(output.regions_yaml).regions) == ["asia", "eu", "us"]
    error_message = "regions.yaml has the three regions."
  }

  assert {
    condition     = length(distinct([for place in values(yamldecode(output.installation_yaml).reach) : place.port])) == 12
    error_message = "installation.yaml reaches each of the twelve servers through a port of its own."
  }
}
