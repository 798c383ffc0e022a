# The private cluster: PostgreSQL 18 on three servers in three zones, moved by Patroni with etcd on
# the same three, and one small server for the airlock. docs/decisions/0027-terraform.md says why no
# managed service stands here.

locals {
  letters = ["a", "b", "c"]

  # The fourth address of a subnet is the first one that AWS leaves free; ours are told to everybody
  # before a server exists, because etcd and the names of nodes need them.
  nodes = {
    for index, letter in local.letters : "${var.id}-${letter}" => {
      zone    = var.region.availability_zones[index]
      subnet  = "data-${index}"
      address = cidrhost(local.subnets["data-${index}"].cidr, 10)
    }
  }

  airlock = {
    zone    = var.region.availability_zones[0]
    subnet  = "airlock-0"
    address = cidrhost(local.subnets["airlock-0"].cidr, 10)
  }

  # Logs travel further than tables, so neither statements nor parameters nor row values go there.
  discreet = {
    log_error_verbosity               = "terse"
    log_min_error_statement           = "panic"
    log_parameter_max_length          = 0
    log_parameter_max_length_on_error = 0
    log_statement                     = "none"
    log_min_duration_statement        = -1
  }

  replicating = {
    wal_level                       = "logical"
    max_wal_senders                 = 16
    max_replication_slots           = 16
    max_worker_processes            = 16
    track_commit_timestamp          = "on"
    password_encryption             = "scram-sha-256"
    wal_writer_delay                = "10ms"
    wal_compression                 = "lz4"
    archive_timeout                 = "60s"
    max_logical_replication_workers = 12
    max_active_replication_origins  = 16
  }

  patroni = {
    for name, node in local.nodes : name => {
      scope = var.id
      name  = name
      restapi = {
        listen          = "${node.address}:${local.ports.patroni}"
        connect_address = "${node.address}:${local.ports.patroni}"
        # Reading is open to the members; changing anything asks for the password.
        authentication = { username = "patroni" }
      }
      etcd3 = { hosts = [for peer in values(local.nodes) : "${peer.address}:${local.ports.etcd_clients}"] }
      bootstrap = {
        dcs = {
          ttl                     = 20
          loop_wait               = 5
          retry_timeout           = 5
          maximum_lag_on_failover = 1048576
          # A commit is on a standby before anybody hears of it, and only that standby takes over.
          synchronous_mode        = "on"
          synchronous_mode_strict = "on"
          synchronous_node_count  = 1
          # The airlock's feed; PostgreSQL itself keeps it through a promotion.
          ignore_slots = [{ type = "logical" }]
          postgresql = {
            use_slots     = true
            use_pg_rewind = true
            parameters = merge(local.replicating, local.discreet, {
              synchronous_commit     = "on"
              hot_standby_feedback   = "on"
              sync_replication_slots = "on"
              max_connections        = var.shared.postgres.connections
              max_slot_wal_keep_size = "${var.shared.postgres.slot_keep_gb}GB"
              archive_mode           = "on"
              archive_command        = "pgbackrest --stanza=${var.id} archive-push %p"
            })
          }
        }
        initdb = [{ encoding = "UTF8" }, "data-checksums"]
      }
      postgresql = {
        listen          = "${node.address},127.0.0.1:${local.ports.postgres}"
        connect_address = "${node.address}:${local.ports.postgres}"
        data_dir        = "/var/lib/domicile/pgdata"
        bin_dir         = "/usr/lib/postgresql/18/bin"
        # Who else may come in is the security group's matter; how, is said here.
        pg_hba = [
          "local all postgres peer",
          "host replication domicile_standby ${var.tier_cidrs.data} scram-sha-256",
          "host all all 127.0.0.1/32 scram-sha-256",
          "host all all ${var.tier_cidrs.data} scram-sha-256",
          "host all all ${var.tier_cidrs.edge} scram-sha-256",
          "host all domicile_feed ${var.tier_cidrs.airlock} scram-sha-256",
        ]
        authentication = {
          superuser   = { username = "postgres" }
          replication = { username = "domicile_standby" }
        }
        parameters = {
          # A row leaves the region only when every server that may take over has it.
          synchronized_standby_slots = join(",", [for peer in keys(local.nodes) : replace(peer, "-", "_") if peer != name])
        }
      }
      watchdog = { mode = "required" }
      tags     = { nofailover = false, nosync = false }
    }
  }

  etcd = {
    for name, node in local.nodes : name => {
      name                        = name
      data-dir                    = "/var/lib/domicile/etcd"
      listen-client-urls          = "http://${node.address}:${local.ports.etcd_clients},http://127.0.0.1:${local.ports.etcd_clients}"
      advertise-client-urls       = "http://${node.address}:${local.ports.etcd_clients}"
      listen-peer-urls            = "http://${node.address}:${local.ports.etcd_peers}"
      initial-advertise-peer-urls = "http://${node.address}:${local.ports.etcd_peers}"
      initial-cluster             = join(",", [for peer, at in local.nodes : "${peer}=http://${at.address}:${local.ports.etcd_peers}"])
      initial-cluster-token       = local.name
      initial-cluster-state       = "new"
    }
  }

  pgbackrest = <<-EOT
    [global]
    repo1-type=s3
    repo1-s3-bucket=${local.bucket}
    repo1-s3-region=${local.aws_region}
    repo1-s3-endpoint=s3.${local.aws_region}.amazonaws.com
    repo1-s3-key-type=auto
    repo1-path=/${var.id}
    repo1-retention-full-type=time
    repo1-retention-full=${var.region.backup_days}
    start-fast=y
    log-level-console=warn

    [${var.id}]
    pg1-path=/var/lib/domicile/pgdata
    pg1-port=${local.ports.postgres}
  EOT

  airlock_settings = merge(local.replicating, local.discreet, {
    listen_addresses = "${local.airlock.address},127.0.0.1"
    port             = local.ports.postgres
    max_connections  = 100
    # What a narrowed policy lets out no more should leave the disk soon, also from old segments.
    wal_recycle            = "off"
    max_slot_wal_keep_size = "${var.shared.airlock.slot_keep_gb}GB"
  })

  airlock_hba = concat(
    ["local all postgres peer", "host all all 127.0.0.1/32 scram-sha-256", "host all all ${var.tier_cidrs.data} scram-sha-256"],
    # A peer's role and no other, from its private cluster and from nowhere else.
    [for peer, cidrs in var.peers : "host ${var.shared.database} domicile_peer_${replace(peer, "-", "_")} ${cidrs.data} scram-sha-256"],
  )
}

resource "aws_ebs_volume" "node" {
  for_each = local.nodes

  availability_zone = each.value.zone
  type              = "gp3"
  size              = var.shared.postgres.volume_gb
  iops              = var.shared.postgres.iops
  throughput        = var.shared.postgres.throughput
  encrypted         = true
  kms_key_id        = aws_kms_key.region.arn
  final_snapshot    = true
  tags              = { Name = each.key }
}

resource "aws_instance" "node" {
  for_each = local.nodes

  ami                         = var.region.postgres_image
  instance_type               = var.shared.postgres.instance_type
  subnet_id                   = aws_subnet.tier[each.value.subnet].id
  private_ip                  = each.value.address
  associate_public_ip_address = false
  vpc_security_group_ids      = [aws_security_group.tier["data"].id]
  iam_instance_profile        = aws_iam_instance_profile.server["data"].name
  disable_api_termination     = var.shared.protected
  ebs_optimized               = true
  user_data_replace_on_change = false
  tags                        = { Name = each.key }

  user_data = templatefile("${path.module}/server.sh.tftpl", {
    name       = each.key
    kind       = "data"
    aws_region = local.aws_region
    volume     = aws_ebs_volume.node[each.key].id
    secret     = aws_secretsmanager_secret.of["postgres"].arn
    log_group  = aws_cloudwatch_log_group.of["postgres"].name
    services   = ["etcd", "patroni"]
    files = {
      "/etc/domicile/patroni.yml"       = yamlencode(local.patroni[each.key])
      "/etc/domicile/etcd.yml"          = yamlencode(local.etcd[each.key])
      "/etc/pgbackrest/pgbackrest.conf" = local.pgbackrest
      # What libpq opens the peers' airlocks with. Outside of the data directory, so that no base
      # backup has it; the passwords are filled in from the secret.
      "/etc/domicile/passwords.in" = join("\n", concat(
        [for peer in sort(keys(var.peers)) : "airlock-${peer}.links.${var.shared.domain}:${local.ports.postgres}:${var.shared.database}:domicile_peer_${replace(var.id, "-", "_")}:$${AIRLOCK_OF_${upper(peer)}_PASSWORD}"],
        [""],
      ))
    }
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  maintenance_options {
    auto_recovery = "default"
  }

  root_block_device {
    encrypted   = true
    kms_key_id  = aws_kms_key.region.arn
    volume_type = "gp3"
    volume_size = 20
  }

  lifecycle {
    # A new image is rolled out one server after the other, by a person; see README.md.
    ignore_changes = [ami, user_data]
  }
}

resource "aws_volume_attachment" "node" {
  for_each = local.nodes

  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.node[each.key].id
  instance_id = aws_instance.node[each.key].id
}

resource "aws_ebs_volume" "airlock" {
  availability_zone = local.airlock.zone
  type              = "gp3"
  size              = var.shared.airlock.volume_gb
  encrypted         = true
  kms_key_id        = aws_kms_key.region.arn
  tags              = { Name = "${var.id}-x" }
}

resource "aws_instance" "airlock" {
  ami                         = var.region.postgres_image
  instance_type               = var.shared.airlock.instance_type
  subnet_id                   = aws_subnet.tier[local.airlock.subnet].id
  private_ip                  = local.airlock.address
  associate_public_ip_address = false
  vpc_security_group_ids      = [aws_security_group.tier["airlock"].id]
  iam_instance_profile        = aws_iam_instance_profile.server["airlock"].name
  disable_api_termination     = var.shared.protected
  ebs_optimized               = true
  user_data_replace_on_change = false
  tags                        = { Name = "${var.id}-x" }

  user_data = templatefile("${path.module}/server.sh.tftpl", {
    name       = "${var.id}-x"
    kind       = "airlock"
    aws_region = local.aws_region
    volume     = aws_ebs_volume.airlock.id
    secret     = aws_secretsmanager_secret.of["airlock"].arn
    log_group  = aws_cloudwatch_log_group.of["postgres"].name
    services   = ["domicile-airlock"]
    files = {
      "/etc/domicile/postgresql.conf" = join("", [for name, value in local.airlock_settings : "${name} = '${value}'\n"])
      "/etc/domicile/pg_hba.conf"     = join("", [for line in local.airlock_hba : "${line}\n"])
      "/etc/domicile/passwords.in" = join("\n", concat(
        [for name in sort(keys(local.nodes)) : "${name}.nodes.${var.shared.domain}:${local.ports.postgres}:${var.shared.database}:domicile_feed:$${FEED_PASSWORD}"],
        [""],
      ))
    }
  })

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  maintenance_options {
    auto_recovery = "default"
  }

  root_block_device {
    encrypted   = true
    kms_key_id  = aws_kms_key.region.arn
    volume_type = "gp3"
    volume_size = 20
  }

  lifecycle {
    ignore_changes = [ami, user_data]
  }
}

resource "aws_volume_attachment" "airlock" {
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.airlock.id
  instance_id = aws_instance.airlock.id
}
