# A private way between two regions, which AWS encrypts. It joins two networks, but routes lead only
# where something has to go: edges to edges, and private clusters to the other side's airlock and
# back. An edge has no route to a peer's data, and a peer's data has none to ours.

locals {
  # Who begins on one side, and whom it reaches on the other. Answers need the way back.
  ways = {
    edge-to-edge    = { from = "edge", to = "edge" }
    data-to-airlock = { from = "data", to = "airlock" }
    airlock-to-data = { from = "airlock", to = "data" }
  }
}

resource "aws_vpc_peering_connection" "link" {
  provider = aws.a

  vpc_id        = var.a.vpc_id
  peer_vpc_id   = var.b.vpc_id
  peer_region   = var.b.aws_region
  peer_owner_id = var.b.account_id
  auto_accept   = false
  tags          = { Name = "domicile-${var.name}" }
}

resource "aws_vpc_peering_connection_accepter" "link" {
  provider = aws.b

  vpc_peering_connection_id = aws_vpc_peering_connection.link.id
  auto_accept               = true
  tags                      = { Name = "domicile-${var.name}" }
}

resource "aws_route" "from_a" {
  provider = aws.a
  for_each = local.ways

  route_table_id            = var.a.route_tables[each.value.from]
  destination_cidr_block    = var.b.tier_cidrs[each.value.to]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.link.vpc_peering_connection_id
}

resource "aws_route" "from_b" {
  provider = aws.b
  for_each = local.ways

  route_table_id            = var.b.route_tables[each.value.from]
  destination_cidr_block    = var.a.tier_cidrs[each.value.to]
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.link.vpc_peering_connection_id
}
