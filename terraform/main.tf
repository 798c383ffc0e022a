# Domicile in three AWS regions: the same module three times, a private link between each two of
# them, and names that lead clients to the nearest edge. README.md says in which order.

locals {
  # Tiers of each region's network, in this order, each one sixteenth of it. Everybody computes the
  # same, so that a region can name a peer's tier without asking.
  tiers = ["public", "edge", "data", "airlock", "endpoint"]

  tier_cidrs = {
    for id, region in var.regions : id => {
      for index, tier in local.tiers : tier => cidrsubnet(region.cidr, 4, index)
    }
  }

  # Hosts are names that this module gives, so the file is known before anything is made. Nodes are
  # called by names that nobody outside of their own region can resolve.
  catalogue = {
    version = 1
    regions = {
      for id, region in var.regions : id => {
        title    = region.title
        database = var.database
        edges = [{
          name      = "edge-${id}"
          url       = "https://hop-${id}.links.${var.domain}"
          publicUrl = "https://${id}.${var.domain}"
        }]
        nodes = [
          for letter in ["a", "b", "c"] : {
            name = "${id}-${letter}"
            host = "${id}-${letter}.nodes.${var.domain}"
            port = 5432
          }
        ]
        airlock = { name = "${id}-x", host = "airlock-${id}.links.${var.domain}", port = 5432 }
        keeper = {
          kind    = "patroni"
          members = [for letter in ["a", "b", "c"] : "http://${id}-${letter}.nodes.${var.domain}:8008"]
        }
      }
    }
    distances = [
      for distance in var.distances : {
        between     = distance.between
        roundTripMs = distance.round_trip_ms
      }
    ]
  }

  regions_yaml = yamlencode(local.catalogue)

  # What the commands of whoever administers it need. No place is let into every region, so servers are
  # reached through tunnels of Session Manager, each on a port of its own: README.md opens them.
  tunnel_ports = merge([
    for index, id in sort(keys(var.regions)) : {
      for nth, letter in ["a", "b", "c", "x"] : "${id}-${letter}" => 15400 + 10 * index + nth
    }
  ]...)

  installation_yaml = yamlencode({
    version       = 1
    roles         = { private = { domicile_standby = ["login", "replication"] } }
    subscriptions = { passwordFile = "/run/domicile/passwords" }
    reach         = { for name, port in local.tunnel_ports : name => { host = "127.0.0.1", port = port } }
  })

  peers = {
    for id in keys(var.regions) : id => {
      for peer, cidrs in local.tier_cidrs : peer => { edge = cidrs.edge, data = cidrs.data, airlock = cidrs.airlock }
      if peer != id
    }
  }

  shared = {
    account_id     = var.account_id
    domain         = var.domain
    public_zone_id = var.public_zone_id
    database       = var.database
    regions_yaml   = local.regions_yaml
    edges          = var.edges
    postgres       = var.postgres
    airlock        = var.airlock
    endpoint_zones = var.endpoint_zones
    log_days       = var.log_days
    protected      = var.protected
  }
}

module "us" {
  source    = "./modules/region"
  providers = { aws = aws.us }

  id         = "us"
  region     = var.regions.us
  tier_cidrs = local.tier_cidrs.us
  peers      = local.peers.us
  shared     = local.shared
}

module "eu" {
  source    = "./modules/region"
  providers = { aws = aws.eu }

  id         = "eu"
  region     = var.regions.eu
  tier_cidrs = local.tier_cidrs.eu
  peers      = local.peers.eu
  shared     = local.shared
}

module "asia" {
  source    = "./modules/region"
  providers = { aws = aws.asia }

  id         = "asia"
  region     = var.regions.asia
  tier_cidrs = local.tier_cidrs.asia
  peers      = local.peers.asia
  shared     = local.shared
}

module "us_eu" {
  source    = "./modules/link"
  providers = { aws.a = aws.us, aws.b = aws.eu }

  name = "us-eu"
  a    = module.us.linkable
  b    = module.eu.linkable
}

module "us_asia" {
  source    = "./modules/link"
  providers = { aws.a = aws.us, aws.b = aws.asia }

  name = "us-asia"
  a    = module.us.linkable
  b    = module.asia.linkable
}

module "eu_asia" {
  source    = "./modules/link"
  providers = { aws.a = aws.eu, aws.b = aws.asia }

  name = "eu-asia"
  a    = module.eu.linkable
  b    = module.asia.linkable
}

# Route 53 is one service for the world. It learns names, addresses and health, and nothing else.
module "routing" {
  source    = "./modules/routing"
  providers = { aws = aws.us }

  domain         = var.domain
  public_zone_id = var.public_zone_id
  regions = {
    us   = module.us.routable
    eu   = module.eu.routable
    asia = module.asia.routable
  }
}
