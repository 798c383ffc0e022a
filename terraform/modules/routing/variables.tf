variable "domain" {
  description = "The name that clients ask."
  type        = string
}

variable "public_zone_id" {
  description = "The public zone that domain is in."
  type        = string
}

variable "regions" {
  description = "Where each region's load balancers and airlock are."
  type = map(object({
    aws_region      = string
    vpc_id          = string
    front           = object({ dns_name = string, zone_id = string })
    hop             = object({ dns_name = string, zone_id = string })
    airlock_address = string
  }))
}
