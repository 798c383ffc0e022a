# For the management account of an organization: nobody in the accounts below target_id, not even
# their administrators, copies data out of its region or makes anything in another one.

module "no_copies" {
  source = "../no-copies"
}

resource "aws_organizations_policy" "residency" {
  name        = "domicile-residency"
  description = "Data stays in the region that it is in."
  type        = "SERVICE_CONTROL_POLICY"

  content = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "NoCopies"
        Effect   = "Deny"
        Action   = module.no_copies.actions
        Resource = "*"
      },
      {
        Sid    = "NoOtherRegions"
        Effect = "Deny"
        # Services that are one for the world answer in us-east-1, whoever asks.
        NotAction = [
          "account:*", "aws-portal:*", "budgets:*", "ce:*", "cloudfront:*", "health:*", "iam:*",
          "organizations:*", "route53:*", "route53domains:*", "sts:*", "support:*", "tag:*",
        ]
        Resource  = "*"
        Condition = { StringNotEquals = { "aws:RequestedRegion" = sort(var.aws_regions) } }
      },
    ]
  })
}

resource "aws_organizations_policy_attachment" "residency" {
  policy_id = aws_organizations_policy.residency.id
  target_id = var.target_id
}
