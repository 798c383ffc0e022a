variable "account_id" {
  description = "The AWS account that everything is in."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id has twelve digits."
  }
}

variable "domain" {
  description = "The name that clients ask, such as shop.example.com. Each region has one of its own below it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain is a lower-case host name with at least one dot, and without one at its end."
  }
}

variable "public_zone_id" {
  description = "The public Route 53 zone that domain is in."
  type        = string

  validation {
    condition     = can(regex("^Z[A-Z0-9]{5,31}$", var.public_zone_id))
    error_message = "public_zone_id begins with Z, as Route 53 shows it."
  }
}

variable "database" {
  description = "The app's database on every node."
  type        = string
  default     = "storefront"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_]{0,62}$", var.database))
    error_message = "database has lower-case letters, digits and underscores, as regions.yaml wants it."
  }
}

variable "regions" {
  description = <<-EOT
    The three regions, under the ids that the residency policy uses. availability_zones: three, in
    the order of the nodes a, b and c. cidr: a /16 that no other network of yours uses.
    postgres_image: an image of that region, as terraform/README.md describes it. edge_image: in a
    registry of that region, pinned by its digest. backup_days: how long backups are kept there.
  EOT
  type = map(object({
    title              = string
    aws_region         = string
    availability_zones = list(string)
    cidr               = string
    postgres_image     = string
    edge_image         = string
    collector_image    = string
    backup_days        = optional(number, 14)
  }))

  validation {
    condition     = toset(keys(var.regions)) == toset(["us", "eu", "asia"])
    error_message = "regions has exactly the keys us, eu and asia: each has a provider of its own."
  }

  validation {
    condition     = length(distinct([for region in var.regions : region.aws_region])) == length(var.regions)
    error_message = "Two regions cannot be the same AWS region: one of them would hold the other's data."
  }

  validation {
    condition = alltrue([
      for region in var.regions :
      length(distinct(region.availability_zones)) == 3 && length(region.availability_zones) == 3 &&
      alltrue([for zone in region.availability_zones : can(regex("^${region.aws_region}[a-z]$", zone))])
    ])
    error_message = "availability_zones are three different zones of the region's own aws_region, such as eu-central-1a."
  }

  validation {
    condition = alltrue([
      for region in var.regions : can(cidrhost(region.cidr, 0)) && endswith(region.cidr, "/16") &&
      try("${cidrhost(region.cidr, 0)}/16", "") == region.cidr &&
      can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", region.cidr))
    ])
    error_message = "cidr is a private network written from its beginning with /16, such as 10.20.0.0/16."
  }

  validation {
    condition     = length(distinct([for region in var.regions : region.cidr])) == length(var.regions)
    error_message = "Two regions have the same cidr; nobody could find a way between them."
  }

  validation {
    condition     = alltrue([for region in var.regions : can(regex("^ami-[0-9a-f]{8,17}$", region.postgres_image))])
    error_message = "postgres_image is the id of a machine image, such as ami-0123456789abcdef0."
  }

  validation {
    condition = alltrue(flatten([
      for region in var.regions : [
        for image in [region.edge_image, region.collector_image] :
        can(regex("^[0-9]{12}\\.dkr\\.ecr\\.${region.aws_region}\\.amazonaws\\.com/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", image))
      ]
    ]))
    error_message = "edge_image and collector_image are in a registry (ECR) of the region itself and pinned by digest: ….dkr.ecr.eu-central-1.amazonaws.com/name@sha256:…. Nothing of a region can be fetched from elsewhere."
  }

  validation {
    condition     = alltrue([for region in var.regions : region.backup_days >= 2 && region.backup_days <= 400])
    error_message = "backup_days is from 2 to 400."
  }

  validation {
    condition     = alltrue([for region in var.regions : length(region.title) >= 1 && length(region.title) <= 100])
    error_message = "title has 1 to 100 characters."
  }
}

variable "distances" {
  description = "The network round trip between every two regions in milliseconds, for regions.yaml."
  type = list(object({
    between       = list(string)
    round_trip_ms = number
  }))
  default = [
    { between = ["us", "eu"], round_trip_ms = 85 },
    { between = ["us", "asia"], round_trip_ms = 150 },
    { between = ["eu", "asia"], round_trip_ms = 230 },
  ]

  validation {
    condition = toset([for distance in var.distances : join(" ", sort(distance.between))]) == toset([
      "eu us", "asia us", "asia eu",
    ]) && length(var.distances) == 3
    error_message = "distances names each pair of us, eu and asia once."
  }

  validation {
    condition     = alltrue([for distance in var.distances : distance.round_trip_ms >= 0 && distance.round_trip_ms <= 10000])
    error_message = "round_trip_ms is from 0 to 10000."
  }
}

variable "edges" {
  description = "The edges of each region: image's processor, size of one, and how many there may be."
  type = object({
    architecture = optional(string, "ARM64")
    cpu          = optional(number, 1024)
    memory       = optional(number, 2048)
    min          = optional(number, 2)
    max          = optional(number, 6)
    # Where the app's files are in the image.
    app    = optional(string, "/app/app.ts")
    policy = optional(string, "/app/residency.yaml")
    # More settings of an edge, such as DOMICILE_CONNECTIONS_MAX; `domicile edge --help` lists them.
    settings = optional(map(string), {})
  })
  default = {}

  validation {
    condition     = contains(["ARM64", "X86_64"], var.edges.architecture)
    error_message = "architecture is ARM64 or X86_64."
  }

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.edges.cpu)
    error_message = "cpu is a size that Fargate has: 256, 512, 1024, 2048, 4096, 8192 or 16384 units."
  }

  validation {
    condition     = var.edges.memory >= 2 * var.edges.cpu && var.edges.memory <= 8 * var.edges.cpu
    error_message = "memory (MiB) is from twice to eight times cpu, as Fargate has it."
  }

  validation {
    condition = alltrue([
      for name in keys(var.edges.settings) : can(regex("^DOMICILE_[A-Z_]+$", name)) && !can(regex("_(PASSWORD|KEYS?)$", name))
    ])
    error_message = "settings are named DOMICILE_…, and none of them is a password or a key: those are in the region's secret."
  }

  validation {
    condition     = var.edges.min >= 2 && var.edges.max >= var.edges.min
    error_message = "min is at least 2, so that the loss of a zone leaves an edge, and max is not below it."
  }
}

variable "postgres" {
  description = "The three nodes of each region's private cluster."
  type = object({
    instance_type = optional(string, "t4g.medium")
    volume_gb     = optional(number, 50)
    iops          = optional(number, 3000)
    throughput    = optional(number, 125)
    # How much log a slot may keep for a peer that is away; what is above it is given up.
    slot_keep_gb = optional(number, 16)
    # An edge opens up to 54 to a node; docs/production.md counts them.
    connections = optional(number, 400)
  })
  default = {}

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.postgres.instance_type))
    error_message = "instance_type is a type of EC2 instance, such as r7g.large."
  }

  validation {
    condition     = var.postgres.slot_keep_gb >= 1 && var.postgres.slot_keep_gb * 4 <= var.postgres.volume_gb * 2
    error_message = "slot_keep_gb is at least 1 and at most half of volume_gb: a peer that is away must not fill the disk."
  }

  validation {
    condition     = var.postgres.connections >= 60 && var.postgres.connections <= 5000
    error_message = "connections is from 60, which is one edge, to 5000."
  }

  validation {
    condition     = var.postgres.volume_gb >= 20 && var.postgres.volume_gb <= 65536
    error_message = "volume_gb is from 20 to 65536."
  }

  validation {
    condition     = var.postgres.iops >= 3000 && var.postgres.iops <= 80000 && var.postgres.throughput >= 125 && var.postgres.throughput <= 2000
    error_message = "iops is from 3000 to 80000 and throughput from 125 to 2000, as gp3 volumes have them."
  }
}

variable "airlock" {
  description = "The small cluster of each region that holds what policy lets out."
  type = object({
    instance_type = optional(string, "t4g.small")
    volume_gb     = optional(number, 20)
    slot_keep_gb  = optional(number, 4)
  })
  default = {}

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.airlock.instance_type))
    error_message = "instance_type is a type of EC2 instance, such as t4g.small."
  }

  validation {
    condition     = var.airlock.slot_keep_gb >= 1 && var.airlock.slot_keep_gb * 2 <= var.airlock.volume_gb
    error_message = "slot_keep_gb is at least 1 and at most half of volume_gb."
  }
}

variable "endpoint_zones" {
  description = "In how many zones of a region the private endpoints of AWS stand. One is cheapest, and its loss stops starts of edges."
  type        = number
  default     = 2

  validation {
    condition     = contains([1, 2, 3], var.endpoint_zones)
    error_message = "endpoint_zones is 1, 2 or 3."
  }
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400], var.log_days)
    error_message = "log_days is a retention that CloudWatch has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 or 400."
  }
}

variable "protected" {
  description = "Whether servers and load balancers refuse to be removed. Set it to false before terraform destroy."
  type        = bool
  default     = true
}
