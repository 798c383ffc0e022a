output "regions_yaml" {
  description = "terraform output -raw regions_yaml > regions.yaml"
  value       = module.domicile.regions_yaml
}

output "installation_yaml" {
  description = "terraform output -raw installation_yaml > installation.yaml"
  value       = module.domicile.installation_yaml
}

output "tunnels" {
  description = "Which server each port of installation.yaml leads to."
  value       = module.domicile.tunnels
}

output "url" {
  description = "Where clients ask."
  value       = module.domicile.url
}

output "secrets" {
  description = "What has to be filled before anything starts."
  value       = module.domicile.secrets
}

output "backup_buckets" {
  description = "Where backups are."
  value       = module.domicile.backup_buckets
}

output "metrics" {
  description = "Where each region's metrics can be asked."
  value       = module.domicile.metrics
}
