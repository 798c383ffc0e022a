# What can be seen of the region, kept in the region. Domicile's own telemetry holds no personal
# data; addresses of clients would be, so load balancers and the network keep no logs.

locals {
  log_groups = ["edge", "collector", "postgres"]
}

resource "aws_cloudwatch_log_group" "of" {
  for_each = toset(local.log_groups)

  name              = "/domicile/${var.id}/${each.key}"
  retention_in_days = var.shared.log_days
  kms_key_id        = aws_kms_key.region.arn
}

resource "aws_prometheus_workspace" "region" {
  alias       = local.name
  kms_key_arn = aws_kms_key.region.arn
}

resource "aws_sns_topic" "alarms" {
  name              = "${local.name}-alarms"
  kms_master_key_id = aws_kms_key.region.arn
}

locals {
  alarms = merge(
    {
      edges-gone = {
        text       = "No edge of ${var.id} is healthy: clients are led to other regions, which refuse its data. docs/runbook.md, An edge is down"
        namespace  = "AWS/NetworkELB", metric = "HealthyHostCount", statistic = "Minimum"
        comparison = "LessThanThreshold", threshold = 1, missing = "breaching"
        dimensions = { LoadBalancer = aws_lb.front.arn_suffix, TargetGroup = aws_lb_target_group.front.arn_suffix }
      }
      edges-busy = {
        text       = "The edges of ${var.id} are busy, and there may be no more of them. docs/runbook.md, Requests are turned away as overloaded"
        namespace  = "AWS/ECS", metric = "CPUUtilization", statistic = "Average"
        comparison = "GreaterThanThreshold", threshold = 80, missing = "notBreaching"
        dimensions = { ClusterName = aws_ecs_cluster.edges.name, ServiceName = aws_ecs_service.edges.name }
      }
    },
    {
      for name, node in aws_instance.node : "${name}-down" => {
        text       = "The server of ${name} does not pass its checks. docs/runbook.md, A primary is down, A replica is down"
        namespace  = "AWS/EC2", metric = "StatusCheckFailed", statistic = "Maximum"
        comparison = "GreaterThanThreshold", threshold = 0, missing = "breaching"
        dimensions = { InstanceId = node.id }
      }
    },
    {
      airlock-down = {
        text       = "The airlock's server does not pass its checks. docs/runbook.md, An airlock is down"
        namespace  = "AWS/EC2", metric = "StatusCheckFailed", statistic = "Maximum"
        comparison = "GreaterThanThreshold", threshold = 0, missing = "breaching"
        dimensions = { InstanceId = aws_instance.airlock.id }
      }
    },
    {
      for name, node in aws_instance.node : "${name}-disk" => {
        text       = "The disk of ${name} is filling, as its own agent says."
        namespace  = "Domicile", metric = "disk_used_percent", statistic = "Maximum"
        comparison = "GreaterThanThreshold", threshold = 80, missing = "breaching"
        dimensions = { Node = name }
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "of" {
  for_each = local.alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  dimensions          = each.value.dimensions
  period              = 60
  evaluation_periods  = 2
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
