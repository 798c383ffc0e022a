variable "account_id" {
  description = "The AWS account."
  type        = string
}

variable "domain" {
  description = "The name that clients ask."
  type        = string
}

variable "public_zone_id" {
  description = "The public Route 53 zone that domain is in."
  type        = string
}

variable "postgres_images" {
  description = "The machine image of each region's servers."
  type        = map(string)
}

variable "edge_digest" {
  description = "Digest of the image with the app and the domicile command, the same in every region's registry."
  type        = string
}

variable "collector_digest" {
  description = "Digest of the collector's image."
  type        = string
}
