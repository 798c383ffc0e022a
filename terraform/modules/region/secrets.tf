# Who keeps which secret. Only their places are made here: values are put in by hand or by your own
# tool, so that none of them is in Terraform's state. None is replicated, and each one is read by
# the one role that needs it.

locals {
  # What belongs into each, as keys of a JSON object.
  secrets = {
    edge = {
      reader = aws_iam_role.launch.arn
      keys = [
        "DOMICILE_DATABASE_PASSWORD", "DOMICILE_SESSION_KEYS", "DOMICILE_HOP_KEY",
        "DOMICILE_DIRECTORY_KEY", "DOMICILE_SUBJECT_KEY",
      ]
    }
    postgres = {
      reader = aws_iam_role.server["data"].arn
      # One for each peer: what opens the airlock there to this region.
      keys = concat(
        ["SUPERUSER_PASSWORD", "STANDBY_PASSWORD", "PATRONI_API_PASSWORD"],
        [for peer in sort(keys(var.peers)) : "AIRLOCK_OF_${upper(peer)}_PASSWORD"],
      )
    }
    airlock = {
      reader = aws_iam_role.server["airlock"].arn
      keys   = ["SUPERUSER_PASSWORD", "FEED_PASSWORD"]
    }
  }
}

resource "aws_secretsmanager_secret" "of" {
  for_each = local.secrets

  name                    = "domicile/${var.id}/${each.key}"
  description             = "JSON with ${join(", ", each.value.keys)}"
  kms_key_id              = aws_kms_key.region.arn
  recovery_window_in_days = 30
}

resource "aws_secretsmanager_secret_policy" "of" {
  for_each = local.secrets

  secret_arn          = aws_secretsmanager_secret.of[each.key].arn
  block_public_policy = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OneReader"
        Effect    = "Deny"
        Principal = "*"
        Action    = "secretsmanager:GetSecretValue"
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = each.value.reader } }
      },
      {
        Sid       = "StaysHere"
        Effect    = "Deny"
        Principal = "*"
        Action    = "secretsmanager:ReplicateSecretToRegions"
        Resource  = "*"
      },
    ]
  })
}
