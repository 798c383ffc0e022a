# Which tier of one side has a way to which tier of the other?

mock_provider "aws" {
  alias = "a"
}

mock_provider "aws" {
  alias = "b"
}

variables {
  name = "us-eu"
  a = {
    aws_region   = "us-east-1"
    account_id   = "123456789012"
    vpc_id       = "vpc-us"
    tier_cidrs   = { public = "10.10.0.0/20", edge = "10.10.16.0/20", data = "10.10.32.0/20", airlock = "10.10.48.0/20", endpoint = "10.10.64.0/20" }
    route_tables = { public = "us-public", edge = "us-edge", data = "us-data", airlock = "us-airlock", endpoint = "us-endpoint" }
  }
  b = {
    aws_region   = "eu-central-1"
    account_id   = "123456789012"
    vpc_id       = "vpc-eu"
    tier_cidrs   = { public = "10.20.0.0/20", edge = "10.20.16.0/20", data = "10.20.32.0/20", airlock = "10.20.48.0/20", endpoint = "10.20.64.0/20" }
    route_tables = { public = "eu-public", edge = "eu-edge", data = "eu-data", airlock = "eu-airlock", endpoint = "eu-endpoint" }
  }
}

run "routes_lead_from_tier_to_tier_and_nowhere_else" {
  command = plan

  assert {
    condition = toset([for route in aws_route.from_a : "${route.route_table_id} ${route.destination_cidr_block}"]) == toset([
      "us-edge 10.20.16.0/20", "us-data 10.20.48.0/20", "us-airlock 10.20.32.0/20",
    ])
    error_message = "From us to eu: edges to edges, private cluster to airlock, airlock back to private cluster."
  }

  assert {
    condition = toset([for route in aws_route.from_b : "${route.route_table_id} ${route.destination_cidr_block}"]) == toset([
      "eu-edge 10.10.16.0/20", "eu-data 10.10.48.0/20", "eu-airlock 10.10.32.0/20",
    ])
    error_message = "From eu to us: the same."
  }

  assert {
    condition     = aws_vpc_peering_connection.link.peer_region == "eu-central-1" && aws_vpc_peering_connection.link.vpc_id == "vpc-us"
    error_message = "The link begins on side a and is accepted on side b."
  }
}
