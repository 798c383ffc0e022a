# Who may speak to whom. Each line of the two tables is one rule; what no line allows is dropped.
# Between regions there are two kinds of lines and no third: edges call the hop of a peer, and
# private clusters subscribe to a peer's airlock.

locals {
  groups = {
    front    = "The load balancer that clients reach"
    hop      = "The load balancer that edges of other regions reach"
    edge     = "Edges"
    data     = "The private cluster"
    airlock  = "The airlock"
    endpoint = "Private endpoints of AWS"
  }

  ports = { https = 443, edge = 8080, postgres = 5432, patroni = 8008, etcd_clients = 2379, etcd_peers = 2380 }

  inside = {
    front-to-edge   = { from = "front", to = "edge", port = local.ports.edge, because = "Requests of clients" }
    hop-to-edge     = { from = "hop", to = "edge", port = local.ports.edge, because = "Signed hops" }
    edge-to-data    = { from = "edge", to = "data", port = local.ports.postgres, because = "SQL, in the region only" }
    airlock-to-data = { from = "airlock", to = "data", port = local.ports.postgres, because = "The airlock subscribes to the primary" }
    data-to-airlock = { from = "data", to = "airlock", port = local.ports.postgres, because = "An operator on a node sets up the airlock" }
    data-to-data    = { from = "data", to = "data", port = local.ports.postgres, because = "Standbys stream from the primary" }
    patroni         = { from = "data", to = "data", port = local.ports.patroni, because = "Patroni's members ask each other" }
    etcd-clients    = { from = "data", to = "data", port = local.ports.etcd_clients, because = "Patroni asks etcd" }
    etcd-peers      = { from = "data", to = "data", port = local.ports.etcd_peers, because = "etcd's members" }
    edge-to-aws     = { from = "edge", to = "endpoint", port = local.ports.https, because = "Secrets, images, logs, metrics" }
    data-to-aws     = { from = "data", to = "endpoint", port = local.ports.https, because = "Secrets, logs, Session Manager" }
    airlock-to-aws  = { from = "airlock", to = "endpoint", port = local.ports.https, because = "Secrets, logs, Session Manager" }
  }

  abroad_in = merge(
    { for peer, cidrs in var.peers : "hop-from-${peer}" => { to = "hop", cidr = cidrs.edge, port = local.ports.https, because = "Hops of edges in ${peer}" } },
    { for peer, cidrs in var.peers : "airlock-from-${peer}" => { to = "airlock", cidr = cidrs.data, port = local.ports.postgres, because = "The primary of ${peer} subscribes" } },
  )

  abroad_out = merge(
    { for peer, cidrs in var.peers : "edge-to-${peer}" => { from = "edge", cidr = cidrs.edge, port = local.ports.https, because = "Hops to edges in ${peer}" } },
    { for peer, cidrs in var.peers : "data-to-${peer}" => { from = "data", cidr = cidrs.airlock, port = local.ports.postgres, because = "This primary subscribes to the airlock of ${peer}" } },
  )
}

resource "aws_security_group" "tier" {
  for_each = local.groups

  name        = "${local.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.region.id
  tags        = { Name = "${local.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  security_group_id = aws_security_group.tier["front"].id
  description       = "Clients, over TLS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
}

resource "aws_vpc_security_group_ingress_rule" "inside" {
  for_each = local.inside

  security_group_id            = aws_security_group.tier[each.value.to].id
  referenced_security_group_id = aws_security_group.tier[each.value.from].id
  description                  = each.value.because
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "inside" {
  for_each = local.inside

  security_group_id            = aws_security_group.tier[each.value.from].id
  referenced_security_group_id = aws_security_group.tier[each.value.to].id
  description                  = each.value.because
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "abroad" {
  for_each = local.abroad_in

  security_group_id = aws_security_group.tier[each.value.to].id
  description       = each.value.because
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "abroad" {
  for_each = local.abroad_out

  security_group_id = aws_security_group.tier[each.value.from].id
  description       = each.value.because
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

# Backups and image layers, through the gateway endpoint, whose policy names the buckets.
resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each = toset(["edge", "data"])

  security_group_id = aws_security_group.tier[each.key].id
  description       = "S3 of this region"
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = local.ports.https
  to_port           = local.ports.https
}
