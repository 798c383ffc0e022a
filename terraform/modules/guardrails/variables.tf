variable "target_id" {
  description = "The account, or the organizational unit, that is bound."
  type        = string

  validation {
    condition     = can(regex("^([0-9]{12}|ou-[0-9a-z]{4,32}-[0-9a-z]{8,32})$", var.target_id))
    error_message = "target_id is an account of twelve digits or an organizational unit, ou-…"
  }
}

variable "aws_regions" {
  description = "The AWS regions that anything may be in."
  type        = set(string)

  validation {
    condition     = length(var.aws_regions) > 0
    error_message = "aws_regions names at least one region; without any, nothing could be done at all."
  }
}
