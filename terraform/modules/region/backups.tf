# Backups of the private cluster, twice, and both inside the region: pgBackRest writes base backups
# and the archived log into a bucket, and AWS Backup takes snapshots of the disks. Nothing here
# copies, and the policies refuse whoever tries.

locals {
  bucket = "domicile-${var.id}-${var.shared.account_id}-backups"
}

resource "aws_s3_bucket" "backups" {
  bucket        = local.bucket
  force_destroy = false
}

resource "aws_s3_bucket_ownership_controls" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "backups" {
  bucket                  = aws_s3_bucket.backups.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.region.arn
    }
  }
}

# pgBackRest decides what is old and removes it. A version that it removed, or that a mistake
# replaced, can be had back for as long as backups are kept, and not for longer: people have a right
# to be forgotten there, too.
resource "aws_s3_bucket_versioning" "backups" {
  bucket = aws_s3_bucket.backups.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "backups" {
  bucket = aws_s3_bucket.backups.id

  rule {
    id     = "removed-is-removed"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.region.backup_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}

resource "aws_s3_bucket_policy" "backups" {
  bucket = aws_s3_bucket.backups.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyOverTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.backups.arn, "${aws_s3_bucket.backups.arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        # A copy begins with a read. Reads come from the region's own network, and from nowhere else.
        Sid       = "OnlyFromThisNetwork"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:GetObject*", "s3:PutObject*"]
        Resource  = "${aws_s3_bucket.backups.arn}/*"
        Condition = { StringNotEquals = { "aws:SourceVpce" = aws_vpc_endpoint.s3.id } }
      },
      {
        Sid       = "OnlyWithThisKey"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.backups.arn}/*"
        # Who names no key gets the bucket's, which is this one.
        Condition = {
          Null            = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = "false" }
          StringNotEquals = { "s3:x-amz-server-side-encryption-aws-kms-key-id" = aws_kms_key.region.arn }
        }
      },
      {
        Sid       = "NoReplication"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["s3:PutReplicationConfiguration", "s3:ReplicateObject", "s3:ReplicateDelete", "s3:GetObjectVersionForReplication", "s3:PutBucketAcl", "s3:PutObjectAcl"]
        Resource  = [aws_s3_bucket.backups.arn, "${aws_s3_bucket.backups.arn}/*"]
      },
    ]
  })
}

resource "aws_backup_vault" "region" {
  name          = local.name
  kms_key_arn   = aws_kms_key.region.arn
  force_destroy = false
}

resource "aws_backup_vault_policy" "region" {
  backup_vault_name = aws_backup_vault.region.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "NoCopies"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["backup:CopyFromBackupVault", "backup:CopyIntoBackupVault", "backup:StartCopyJob"]
        Resource  = "*"
      },
    ]
  })
}

resource "aws_backup_plan" "disks" {
  name = "${local.name}-disks"

  rule {
    rule_name         = "daily"
    target_vault_name = aws_backup_vault.region.name
    schedule          = "cron(17 3 * * ? *)"
    start_window      = 60
    completion_window = 480

    lifecycle {
      delete_after = var.region.backup_days
    }
  }
}

resource "aws_iam_role" "backup" {
  name                 = "${local.name}-backup"
  assume_role_policy   = local.assumed_by["backup"]
  permissions_boundary = aws_iam_policy.boundary.arn
}

resource "aws_iam_role_policy_attachment" "backup" {
  for_each = toset(["Backup", "Restores"])

  role       = aws_iam_role.backup.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyFor${each.key}"
}

resource "aws_backup_selection" "disks" {
  name         = "${local.name}-disks"
  plan_id      = aws_backup_plan.disks.id
  iam_role_arn = aws_iam_role.backup.arn
  resources    = [for volume in aws_ebs_volume.node : volume.arn]
}
