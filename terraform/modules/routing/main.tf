# Which names lead where. Clients come to the nearest region whose edges answer; that an edge abroad
# takes over changes who receives the request, never where data is kept.

resource "aws_route53_record" "own" {
  for_each = var.regions

  zone_id = var.public_zone_id
  name    = "${each.key}.${var.domain}"
  type    = "A"

  alias {
    name                   = each.value.front.dns_name
    zone_id                = each.value.front.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_health_check" "edge" {
  for_each = var.regions

  type              = "HTTPS"
  fqdn              = "${each.key}.${var.domain}"
  port              = 443
  resource_path     = "/.domicile/health"
  request_interval  = 10
  failure_threshold = 2
  enable_sni        = true
  tags              = { Name = "domicile-${each.key}" }
}

resource "aws_route53_record" "nearest" {
  for_each = var.regions

  zone_id         = var.public_zone_id
  name            = var.domain
  type            = "A"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.edge[each.key].id

  latency_routing_policy {
    region = each.value.aws_region
  }

  alias {
    name                   = each.value.front.dns_name
    zone_id                = each.value.front.zone_id
    evaluate_target_health = true
  }
}

# What one region may call in another: its hop and its airlock.
resource "aws_route53_zone" "links" {
  name    = "links.${var.domain}"
  comment = "What Domicile's regions may call in each other"

  dynamic "vpc" {
    for_each = var.regions

    content {
      vpc_id     = vpc.value.vpc_id
      vpc_region = vpc.value.aws_region
    }
  }
}

resource "aws_route53_record" "hop" {
  for_each = var.regions

  zone_id = aws_route53_zone.links.zone_id
  name    = "hop-${each.key}.links.${var.domain}"
  type    = "A"

  alias {
    name                   = each.value.hop.dns_name
    zone_id                = each.value.hop.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "airlock" {
  for_each = var.regions

  zone_id = aws_route53_zone.links.zone_id
  name    = "airlock-${each.key}.links.${var.domain}"
  type    = "A"
  ttl     = 60
  records = [each.value.airlock_address]
}
