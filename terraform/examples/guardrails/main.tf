# Run it with the management account of your organization: the account of the installation, and its
# administrators with it, can then copy nothing out of the three regions.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
}

provider "aws" {
  region = "us-east-1"
}

module "guardrails" {
  source = "../../modules/guardrails"

  target_id   = var.target_id
  aws_regions = ["us-east-1", "eu-central-1", "ap-northeast-1"]
}

variable "target_id" {
  description = "The account of the installation, or the organizational unit that it is in."
  type        = string
}
