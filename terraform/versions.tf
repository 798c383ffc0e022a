terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
      # One provider for each region. Inside of a region's module there is no other one, so a
      # forgotten argument cannot put data anywhere else.
      configuration_aliases = [aws.us, aws.eu, aws.asia]
    }
  }
}
