output "linkable" {
  description = "What a link to another region needs to know of this one."
  value = {
    aws_region   = local.aws_region
    account_id   = var.shared.account_id
    vpc_id       = aws_vpc.region.id
    tier_cidrs   = var.tier_cidrs
    route_tables = { for tier, table in aws_route_table.tier : tier => table.id }
  }
}

output "routable" {
  description = "What names have to lead to."
  value = {
    aws_region      = local.aws_region
    vpc_id          = aws_vpc.region.id
    front           = { dns_name = aws_lb.front.dns_name, zone_id = aws_lb.front.zone_id }
    hop             = { dns_name = aws_lb.hop.dns_name, zone_id = aws_lb.hop.zone_id }
    airlock_address = local.airlock.address
  }
}

output "servers" {
  description = "Every PostgreSQL server, for a tunnel to it."
  value = concat(
    [for name, node in aws_instance.node : { name = name, instance = node.id, aws_region = local.aws_region }],
    [{ name = "${var.id}-x", instance = aws_instance.airlock.id, aws_region = local.aws_region }],
  )
}

output "secrets" {
  description = "The region's secrets, with the keys that each one must have."
  value       = { for name, secret in local.secrets : aws_secretsmanager_secret.of[name].name => secret.keys }
}

output "backup_bucket" {
  description = "Where base backups and archived log are."
  value       = aws_s3_bucket.backups.bucket
}

output "metrics" {
  description = "Where metrics can be asked."
  value       = aws_prometheus_workspace.region.prometheus_endpoint
}
