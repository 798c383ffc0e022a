# What does the module refuse? The tests copy variables.tf beside this file and run it alone, because
# nothing has to be planned to refuse a value.

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

run "each_of_these_is_refused" {
  command = plan

  variables {
    account_id     = "12345"
    domain         = "shop.example.com."
    public_zone_id = "example.com"
    database       = "Shop"
    endpoint_zones = 4
    log_days       = 31
    # One edge is too few.
    edges = { min = 1, max = 6 }
    # A slot may not fill the disk.
    postgres  = { volume_gb = 50, slot_keep_gb = 40 }
    airlock   = { volume_gb = 20, slot_keep_gb = 11 }
    distances = [{ between = ["us", "eu"], round_trip_ms = 85 }]
  }

  expect_failures = [
    var.account_id, var.domain, var.public_zone_id, var.database, var.endpoint_zones, var.log_days,
    var.edges, var.postgres, var.airlock, var.distances,
  ]
}

run "what_the_others_change_is_accepted_as_it_is" {
  command = plan
}

run "a_zone_of_another_region_is_refused" {
  command = plan

  variables {
    regions = merge(var.regions, { eu = merge(var.regions.eu, { availability_zones = ["eu-central-1a", "eu-central-1b", "us-east-1c"] }) })
  }

  expect_failures = [var.regions]
}

run "an_image_of_another_regions_registry_is_refused" {
  command = plan

  variables {
    regions = merge(var.regions, { eu = merge(var.regions.eu, { edge_image = var.regions.us.edge_image }) })
  }

  expect_failures = [var.regions]
}

run "an_image_without_a_digest_is_refused" {
  command = plan

  variables {
    regions = merge(var.regions, { eu = merge(var.regions.eu, { edge_image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/storefront:latest" }) })
  }

  expect_failures = [var.regions]
}

run "two_regions_in_one_place_are_refused" {
  command = plan

  variables {
    regions = merge(var.regions, { eu = merge(var.regions.us, { cidr = var.regions.eu.cidr }) })
  }

  expect_failures = [var.regions]
}

run "two_regions_with_one_network_are_refused" {
  command = plan

  variables {
    regions = merge(var.regions, { eu = merge(var.regions.eu, { cidr = "10.10.0.0/16" }) })
  }

  expect_failures = [var.regions]
}

run "a_network_is_written_from_its_beginning" {
  command = plan

  variables {
    regions = merge(var.regions, { eu = merge(var.regions.eu, { cidr = "10.20.5.0/16" }) })
  }

  expect_failures = [var.regions]
}

run "a_key_is_no_setting" {
  command = plan

  variables {
    edges = { settings = { DOMICILE_HOP_KEY = "in the open" } }
  }

  expect_failures = [var.edges]
}
