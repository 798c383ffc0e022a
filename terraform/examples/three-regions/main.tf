# A whole installation: the storefront in Virginia, Frankfurt and Tokyo, at its smallest. Account,
# domain, zone and images are made up; put your own into terraform.tfvars.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }

  # State names every resource, and no secret. Keep it where only operators come: for example
  # backend "s3" { ... } in an account of its own.
}

provider "aws" {
  alias               = "us"
  region              = local.regions.us.aws_region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = { app = "domicile", home = "us" }
  }
}

provider "aws" {
  alias               = "eu"
  region              = local.regions.eu.aws_region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = { app = "domicile", home = "eu" }
  }
}

provider "aws" {
  alias               = "asia"
  region              = local.regions.asia.aws_region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = { app = "domicile", home = "asia" }
  }
}

locals {
  places = {
    us = {
      title              = "Virginia, United States"
      aws_region         = "us-east-1"
      availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
      cidr               = "10.10.0.0/16"
    }
    eu = {
      title              = "Frankfurt, Germany"
      aws_region         = "eu-central-1"
      availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
      cidr               = "10.20.0.0/16"
    }
    asia = {
      title              = "Tokyo, Japan"
      aws_region         = "ap-northeast-1"
      availability_zones = ["ap-northeast-1a", "ap-northeast-1c", "ap-northeast-1d"]
      cidr               = "10.30.0.0/16"
    }
  }

  # Each region has its own registry with its own copy of the images.
  regions = {
    for id, place in local.places : id => merge(place, {
      postgres_image  = var.postgres_images[id]
      edge_image      = "${var.account_id}.dkr.ecr.${place.aws_region}.amazonaws.com/storefront@${var.edge_digest}"
      collector_image = "${var.account_id}.dkr.ecr.${place.aws_region}.amazonaws.com/collector@${var.collector_digest}"
      backup_days     = 14
    })
  }
}

module "domicile" {
  source = "../.."

  providers = {
    aws.us   = aws.us
    aws.eu   = aws.eu
    aws.asia = aws.asia
  }

  account_id     = var.account_id
  domain         = var.domain
  public_zone_id = var.public_zone_id
  regions        = local.regions
}
