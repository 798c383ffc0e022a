# The region's own key. It exists here only and cannot be copied, so that a disk, a backup or a
# secret that somebody carried away could not be read.

module "no_copies" {
  source = "../no-copies"
}

resource "aws_kms_key" "region" {
  description             = "Domicile: everything at rest in ${var.id}"
  enable_key_rotation     = true
  multi_region            = false
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administration"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${var.shared.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${local.aws_region}.amazonaws.com" }
        Action    = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
        Resource  = "*"
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${local.aws_region}:${var.shared.account_id}:log-group:/domicile/*" }
        }
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = var.shared.account_id } }
      },
      {
        Sid       = "StaysHere"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:ReplicateKey", "kms:UpdatePrimaryRegion"]
        Resource  = "*"
      },
      {
        Sid       = "NobodyElse"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:CreateGrant"]
        Resource  = "*"
        Condition = {
          StringNotEquals = { "aws:PrincipalAccount" = var.shared.account_id }
          Bool            = { "aws:PrincipalIsAWSService" = "false" }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "region" {
  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.region.key_id
}
