output "regions_yaml" {
  description = "The router's regions.yaml. Edges are given it; keep a copy beside the policy for the commands."
  value       = local.regions_yaml
}

output "installation_yaml" {
  description = "The router's installation.yaml, for the commands: beside the app, with regions.yaml and secrets.json."
  value       = local.installation_yaml
}

output "tunnels" {
  description = "Which server each port of installation.yaml leads to, once its tunnel is open."
  value = {
    for server in flatten([module.us.servers, module.eu.servers, module.asia.servers]) :
    server.name => merge(server, { port = local.tunnel_ports[server.name] })
  }
}

output "url" {
  description = "Where clients ask; they come to the nearest healthy region."
  value       = "https://${var.domain}"
}

output "secrets" {
  description = "The secrets that have to be filled before anything starts, with what belongs into each."
  value       = { us = module.us.secrets, eu = module.eu.secrets, asia = module.asia.secrets }
}

output "backup_buckets" {
  description = "Where each region's backups and archived log are."
  value       = { us = module.us.backup_bucket, eu = module.eu.backup_bucket, asia = module.asia.backup_bucket }
}

output "metrics" {
  description = "Each region's own Prometheus workspace."
  value       = { us = module.us.metrics, eu = module.eu.metrics, asia = module.asia.metrics }
}
