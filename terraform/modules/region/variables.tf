variable "id" {
  description = "The region's id in policies and in regions.yaml."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,15}$", var.id))
    error_message = "id is a lower-case letter, then up to 15 letters, digits or hyphens."
  }
}

variable "region" {
  description = "What belongs to this region; the root module's variable regions explains and checks it."
  type = object({
    title              = string
    aws_region         = string
    availability_zones = list(string)
    cidr               = string
    postgres_image     = string
    edge_image         = string
    collector_image    = string
    backup_days        = number
  })
}

variable "tier_cidrs" {
  description = "The part of the network that each tier has."
  type        = map(string)
}

variable "peers" {
  description = "The tiers of each other region that something goes to or comes from."
  type = map(object({
    edge    = string
    data    = string
    airlock = string
  }))

  validation {
    condition     = !contains(keys(var.peers), var.id)
    error_message = "A region is not its own peer."
  }
}

variable "shared" {
  description = "What is the same in every region; the root module's variables explain and check it."
  type = object({
    account_id     = string
    domain         = string
    public_zone_id = string
    database       = string
    regions_yaml   = string
    edges = object({
      architecture = string
      cpu          = number
      memory       = number
      min          = number
      max          = number
      app          = string
      policy       = string
      settings     = map(string)
    })
    postgres = object({
      instance_type = string
      volume_gb     = number
      iops          = number
      throughput    = number
      slot_keep_gb  = number
      connections   = number
    })
    airlock = object({
      instance_type = string
      volume_gb     = number
      slot_keep_gb  = number
    })
    endpoint_zones = number
    log_days       = number
    protected      = bool
  })
}
