variable "name" {
  description = "Which two regions it joins."
  type        = string
}

variable "a" {
  description = "One side: its network, its tiers and their route tables."
  type = object({
    aws_region   = string
    account_id   = string
    vpc_id       = string
    tier_cidrs   = map(string)
    route_tables = map(string)
  })
}

variable "b" {
  description = "The other side."
  type = object({
    aws_region   = string
    account_id   = string
    vpc_id       = string
    tier_cidrs   = map(string)
    route_tables = map(string)
  })
}
