# One network, five tiers, three zones. Only the public tier has a way to the internet, and nothing
# but a load balancer stands there. Everybody else reaches AWS through endpoints inside the region.

locals {
  name       = "domicile-${var.id}"
  aws_region = var.region.aws_region

  subnets = merge([
    for tier, cidr in var.tier_cidrs : {
      for index, zone in var.region.availability_zones :
      "${tier}-${index}" => { tier = tier, zone = zone, cidr = cidrsubnet(cidr, 2, index) }
    }
  ]...)

  subnet_ids = {
    for tier in keys(var.tier_cidrs) : tier => [
      for index in range(length(var.region.availability_zones)) : aws_subnet.tier["${tier}-${index}"].id
    ]
  }

  # The services that nodes and edges need. There is no other way out of the region.
  endpoints = [
    "aps-workspaces", "ec2messages", "ecr.api", "ecr.dkr", "kms", "logs", "monitoring",
    "secretsmanager", "ssm", "ssmmessages", "xray",
  ]
}

data "aws_region" "here" {}

resource "aws_vpc" "region" {
  cidr_block           = var.region.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true
  tags                 = { Name = local.name }

  lifecycle {
    precondition {
      condition     = data.aws_region.here.region == var.region.aws_region
      error_message = "The provider of ${var.id} works in ${data.aws_region.here.region}, and the region is declared to be in ${var.region.aws_region}. Its data would be in the wrong place."
    }
  }
}

# Whatever is put into the network without a security group of its own can neither send nor receive.
resource "aws_default_security_group" "none" {
  vpc_id = aws_vpc.region.id
  tags   = { Name = "${local.name}-none" }
}

resource "aws_subnet" "tier" {
  for_each = local.subnets

  vpc_id                  = aws_vpc.region.id
  availability_zone       = each.value.zone
  cidr_block              = each.value.cidr
  map_public_ip_on_launch = false
  tags                    = { Name = "${local.name}-${each.key}" }
}

resource "aws_route_table" "tier" {
  for_each = var.tier_cidrs

  vpc_id = aws_vpc.region.id
  tags   = { Name = "${local.name}-${each.key}" }
}

resource "aws_route_table_association" "tier" {
  for_each = local.subnets

  subnet_id      = aws_subnet.tier[each.key].id
  route_table_id = aws_route_table.tier[each.value.tier].id
}

resource "aws_internet_gateway" "public" {
  vpc_id = aws_vpc.region.id
  tags   = { Name = local.name }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.tier["public"].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.public.id
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.region.id
  service_name      = "com.amazonaws.${local.aws_region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for tier in ["edge", "data"] : aws_route_table.tier[tier].id]
  tags              = { Name = "${local.name}-s3" }

  # Through it one comes to this region's backups and to the layers of container images, and to no
  # other bucket of anybody.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Backups"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:AbortMultipartUpload"]
        Resource  = ["arn:aws:s3:::${local.bucket}", "arn:aws:s3:::${local.bucket}/*"]
      },
      {
        Sid       = "ImageLayers"
        Effect    = "Allow"
        Principal = "*"
        Action    = "s3:GetObject"
        Resource  = "arn:aws:s3:::prod-${local.aws_region}-starport-layer-bucket/*"
      },
    ]
  })
}

resource "aws_vpc_endpoint" "service" {
  for_each = toset(local.endpoints)

  vpc_id              = aws_vpc.region.id
  service_name        = "com.amazonaws.${local.aws_region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = slice(local.subnet_ids.endpoint, 0, var.shared.endpoint_zones)
  security_group_ids  = [aws_security_group.tier["endpoint"].id]
  tags                = { Name = "${local.name}-${each.key}" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OwnAccount"
      Effect    = "Allow"
      Principal = "*"
      Action    = "*"
      Resource  = "*"
      Condition = { StringEquals = { "aws:PrincipalAccount" = var.shared.account_id } }
    }]
  })
}

# How the nodes of the region are called. No other network is told of this zone.
resource "aws_route53_zone" "nodes" {
  name    = "nodes.${var.shared.domain}"
  comment = "PostgreSQL nodes of ${var.id}, for ${var.id} alone"

  vpc {
    vpc_id     = aws_vpc.region.id
    vpc_region = local.aws_region
  }
}

resource "aws_route53_record" "node" {
  for_each = local.nodes

  zone_id = aws_route53_zone.nodes.zone_id
  name    = "${each.key}.nodes.${var.shared.domain}"
  type    = "A"
  ttl     = 60
  records = [each.value.address]
}
