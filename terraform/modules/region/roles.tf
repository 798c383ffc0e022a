# What edges and servers may do in AWS. All roles have one boundary: nothing outside of this region,
# and nothing that copies data.

locals {
  # IAM is one service for the world, so the region has to be said in each condition.
  here = { StringEquals = { "aws:RequestedRegion" = local.aws_region } }

  assumed_by = {
    for service in ["ec2", "ecs-tasks", "backup"] : service => jsonencode({
      Version = "2012-10-17"
      Statement = [{
        Effect    = "Allow"
        Principal = { Service = "${service}.amazonaws.com" }
        Action    = "sts:AssumeRole"
        # A server of EC2 asks without saying for which account.
        Condition = {
          for operator, keys in { StringEquals = { "aws:SourceAccount" = var.shared.account_id } } :
          operator => keys if service != "ec2"
        }
      }]
    })
  }
}

resource "aws_iam_policy" "boundary" {
  name        = "${local.name}-boundary"
  description = "What no role of ${var.id} can go beyond"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "Here", Effect = "Allow", Action = "*", Resource = "*", Condition = local.here },
      { Sid = "NoCopies", Effect = "Deny", Action = module.no_copies.actions, Resource = "*" },
    ]
  })
}

# Starts edges: fetches their image and reads their secret.
resource "aws_iam_role" "launch" {
  name                 = "${local.name}-launch"
  assume_role_policy   = local.assumed_by["ecs-tasks"]
  permissions_boundary = aws_iam_policy.boundary.arn
}

resource "aws_iam_role_policy" "launch" {
  name = "launch"
  role = aws_iam_role.launch.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = ["ecr:GetAuthorizationToken"]
        Resource  = "*"
        Condition = local.here
      },
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
        Resource = "arn:aws:ecr:${local.aws_region}:*:repository/*"
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in aws_cloudwatch_log_group.of : "${group.arn}:*"]
      },
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = aws_secretsmanager_secret.of["edge"].arn
      },
      {
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = aws_kms_key.region.arn
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.aws_region}.amazonaws.com" } }
      },
    ]
  })
}

# What a running edge may do: hand in telemetry. It reaches no database through AWS, and no secret.
resource "aws_iam_role" "edge" {
  name                 = "${local.name}-edge"
  assume_role_policy   = local.assumed_by["ecs-tasks"]
  permissions_boundary = aws_iam_policy.boundary.arn
}

resource "aws_iam_role_policy" "edge" {
  name = "telemetry"
  role = aws_iam_role.edge.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "aps:RemoteWrite", Resource = aws_prometheus_workspace.region.arn },
      { Effect = "Allow", Action = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], Resource = "*", Condition = local.here },
    ]
  })
}

resource "aws_iam_role" "server" {
  for_each = toset(["data", "airlock"])

  name                 = "${local.name}-${each.key}"
  assume_role_policy   = local.assumed_by["ec2"]
  permissions_boundary = aws_iam_policy.boundary.arn
}

resource "aws_iam_instance_profile" "server" {
  for_each = aws_iam_role.server

  name = each.value.name
  role = each.value.name
}

locals {
  # Both kinds: their own secret, Session Manager in place of open ports, logs and metrics.
  servers = {
    for kind, secret in { data = "postgres", airlock = "airlock" } : kind => [
      {
        Effect   = "Allow"
        Action   = "secretsmanager:GetSecretValue"
        Resource = aws_secretsmanager_secret.of[secret].arn
      },
      {
        Effect    = "Allow"
        Action    = "kms:Decrypt"
        Resource  = aws_kms_key.region.arn
        Condition = { StringEquals = { "kms:ViaService" = "secretsmanager.${local.aws_region}.amazonaws.com" } }
      },
      {
        Effect = "Allow"
        Action = [
          "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
          "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel", "ec2messages:*", "cloudwatch:PutMetricData",
        ]
        Resource  = "*"
        Condition = local.here
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
        Resource = "${aws_cloudwatch_log_group.of["postgres"].arn}:*"
      },
    ]
  }

  # Only the private cluster has backups; an airlock is filled anew from it.
  backing_up = [
    {
      Effect   = "Allow"
      Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:AbortMultipartUpload"]
      Resource = ["arn:aws:s3:::${local.bucket}", "arn:aws:s3:::${local.bucket}/*"]
    },
    {
      Effect    = "Allow"
      Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
      Resource  = aws_kms_key.region.arn
      Condition = { StringEquals = { "kms:ViaService" = "s3.${local.aws_region}.amazonaws.com" } }
    },
  ]
}

resource "aws_iam_role_policy" "data" {
  name   = "node"
  role   = aws_iam_role.server["data"].id
  policy = jsonencode({ Version = "2012-10-17", Statement = concat(local.servers.data, local.backing_up) })
}

resource "aws_iam_role_policy" "airlock" {
  name   = "airlock"
  role   = aws_iam_role.server["airlock"].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.servers.airlock })
}
