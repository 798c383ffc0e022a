# One region, made with a mocked provider: nothing is asked of AWS. module.test.ts looks at what came
# of it, because HCL can compare but not decode a script.

mock_provider "aws" {
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

variables {
  id = "eu"
  region = {
    title              = "Frankfurt, Germany"
    aws_region         = "eu-central-1"
    availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    cidr               = "10.20.0.0/16"
    postgres_image     = "ami-00000000000000002"
    edge_image         = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/storefront@sha256:0000000000000000000000000000000000000000000000000000000000000001"
    collector_image    = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/collector@sha256:0000000000000000000000000000000000000000000000000000000000000002"
    backup_days        = 14
  }
  tier_cidrs = { public = "10.20.0.0/20", edge = "10.20.16.0/20", data = "10.20.32.0/20", airlock = "10.20.48.0/20", endpoint = "10.20.64.0/20" }
  peers = {
    us   = { edge = "10.10.16.0/20", data = "10.10.32.0/20", airlock = "10.10.48.0/20" }
    asia = { edge = "10.30.16.0/20", data = "10.30.32.0/20", airlock = "10.30.48.0/20" }
  }
  shared = {
    account_id     = "123456789012"
    domain         = "shop.example.com"
    public_zone_id = "Z0123456789ABCDEFGHIJ"
    database       = "storefront"
    regions_yaml   = "version: 1\n"
    edges          = { architecture = "ARM64", cpu = 1024, memory = 2048, min = 2, max = 6, app = "/app/app.ts", policy = "/app/residency.yaml", settings = { DOMICILE_CONNECTIONS_MAX = "8" } }
    postgres       = { instance_type = "t4g.medium", volume_gb = 50, iops = 3000, throughput = 125, slot_keep_gb = 16, connections = 400 }
    airlock        = { instance_type = "t4g.small", volume_gb = 20, slot_keep_gb = 4 }
    endpoint_zones = 2
    log_days       = 30
    protected      = true
  }
}

run "made" {
  command = apply

  assert {
    condition     = length(aws_instance.node) == 3 && length(distinct([for volume in aws_ebs_volume.node : volume.availability_zone])) == 3
    error_message = "Three nodes in three zones."
  }
}

run "a_provider_of_another_region_is_refused" {
  command = plan

  override_data {
    target = data.aws_region.here
    values = { region = "us-east-1" }
  }

  expect_failures = [aws_vpc.region]
}
