# Edges: stateless, on Fargate, without a way to the internet. Two load balancers stand in front,
# one for clients and one that only peers can reach. Both pass bytes on after TLS and read no HTTP:
# one that did would answer "100 Continue" by itself, and a client abroad would send a body that the
# policy's "transit: redirect" keeps at home.

locals {
  front_names = { shared = var.shared.domain, own = "${var.id}.${var.shared.domain}" }
  hop_name    = "hop-${var.id}.links.${var.shared.domain}"
  names       = merge(local.front_names, { hop = local.hop_name })
}

# A certificate for each name, proved in the public zone. The name of the hop is public by that;
# its address is not.
resource "aws_acm_certificate" "of" {
  for_each = local.names

  domain_name       = each.value
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  for_each = local.names

  zone_id = var.shared.public_zone_id
  name    = tolist(aws_acm_certificate.of[each.key].domain_validation_options)[0].resource_record_name
  type    = tolist(aws_acm_certificate.of[each.key].domain_validation_options)[0].resource_record_type
  records = [tolist(aws_acm_certificate.of[each.key].domain_validation_options)[0].resource_record_value]
  ttl     = 300
  # The shared name is proved by the same record in every region.
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "of" {
  for_each = local.names

  certificate_arn         = aws_acm_certificate.of[each.key].arn
  validation_record_fqdns = [aws_route53_record.proof[each.key].fqdn]
}

resource "aws_lb" "front" {
  name                             = "${local.name}-front"
  load_balancer_type               = "network"
  internal                         = false
  subnets                          = local.subnet_ids.public
  security_groups                  = [aws_security_group.tier["front"].id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.shared.protected
}

resource "aws_lb" "hop" {
  name                             = "${local.name}-hop"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = local.subnet_ids.edge
  security_groups                  = [aws_security_group.tier["hop"].id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.shared.protected
}

resource "aws_lb_target_group" "front" {
  name                 = "${local.name}-front"
  port                 = local.ports.edge
  protocol             = "TCP"
  target_type          = "ip"
  vpc_id               = aws_vpc.region.id
  preserve_client_ip   = "false"
  deregistration_delay = "30"

  health_check {
    protocol            = "HTTP"
    path                = "/.domicile/health"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group" "hop" {
  name                 = "${local.name}-hop"
  port                 = local.ports.edge
  protocol             = "TCP"
  target_type          = "ip"
  vpc_id               = aws_vpc.region.id
  preserve_client_ip   = "false"
  deregistration_delay = "30"

  health_check {
    protocol            = "HTTP"
    path                = "/.domicile/health"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "front" {
  load_balancer_arn = aws_lb.front.arn
  port              = local.ports.https
  protocol          = "TLS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.of["shared"].certificate_arn
  alpn_policy       = "HTTP1Only"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.front.arn
  }
}

resource "aws_lb_listener_certificate" "own" {
  listener_arn    = aws_lb_listener.front.arn
  certificate_arn = aws_acm_certificate_validation.of["own"].certificate_arn
}

resource "aws_lb_listener" "hop" {
  load_balancer_arn = aws_lb.hop.arn
  port              = local.ports.https
  protocol          = "TLS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.of["hop"].certificate_arn
  alpn_policy       = "HTTP1Only"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.hop.arn
  }
}

resource "aws_ecs_cluster" "edges" {
  name = "${local.name}-edges"

  setting {
    name  = "containerInsights"
    value = "disabled"
  }
}

locals {
  # The regions file is public knowledge inside of the installation, so it travels in the open. The
  # policy comes with the app, in the image.
  edge_command = join(" && ", [
    "printf %s \"$REGIONS_YAML\" > /run/domicile/regions.yaml",
    join(" ", [
      "exec domicile edge --region ${var.id} --name edge-${var.id}",
      "--app ${var.shared.edges.app} --policy ${var.shared.edges.policy}",
      "--regions /run/domicile/regions.yaml --listen 0.0.0.0:${local.ports.edge}",
    ]),
  ])

  logging = {
    for group in ["edge", "collector"] : group => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.of[group].name
        awslogs-region        = local.aws_region
        awslogs-stream-prefix = group
      }
    }
  }

  collector = {
    receivers = { otlp = { protocols = { http = { endpoint = "127.0.0.1:4318" } } } }
    processors = {
      batch = { timeout = "5s" }
    }
    exporters = {
      prometheusremotewrite = {
        endpoint = "${aws_prometheus_workspace.region.prometheus_endpoint}api/v1/remote_write"
        auth     = { authenticator = "sigv4auth" }
      }
      awsxray = { region = local.aws_region }
    }
    extensions = { sigv4auth = { region = local.aws_region, service = "aps" } }
    service = {
      extensions = ["sigv4auth"]
      pipelines = {
        metrics = { receivers = ["otlp"], processors = ["batch"], exporters = ["prometheusremotewrite"] }
        traces  = { receivers = ["otlp"], processors = ["batch"], exporters = ["awsxray"] }
      }
    }
  }
}

resource "aws_ecs_task_definition" "edge" {
  family                   = "${local.name}-edge"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = tostring(var.shared.edges.cpu)
  memory                   = tostring(var.shared.edges.memory)
  execution_role_arn       = aws_iam_role.launch.arn
  task_role_arn            = aws_iam_role.edge.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.shared.edges.architecture
  }

  volume {
    name = "run"
  }

  container_definitions = jsonencode([
    {
      name                   = "edge"
      image                  = var.region.edge_image
      essential              = true
      readonlyRootFilesystem = true
      entryPoint             = ["sh", "-c"]
      command                = [local.edge_command]
      portMappings           = [{ containerPort = local.ports.edge, protocol = "tcp" }]
      mountPoints            = [{ sourceVolume = "run", containerPath = "/run/domicile", readOnly = false }]
      # In good order: what is under way ends, nothing new is taken.
      stopTimeout = 30
      environment = concat([
        { name = "REGIONS_YAML", value = var.shared.regions_yaml },
        { name = "DOMICILE_COOKIE_SECURE", value = "on" },
        { name = "OTEL_EXPORTER_OTLP_ENDPOINT", value = "http://127.0.0.1:4318" },
      ], [for name, value in var.shared.edges.settings : { name = name, value = value }])
      secrets = [
        for key in local.secrets.edge.keys : {
          name      = key
          valueFrom = "${aws_secretsmanager_secret.of["edge"].arn}:${key}::"
        }
      ]
      logConfiguration = local.logging.edge
    },
    {
      name             = "collector"
      image            = var.region.collector_image
      essential        = false
      environment      = [{ name = "AOT_CONFIG_CONTENT", value = yamlencode(local.collector) }]
      logConfiguration = local.logging.collector
    },
  ])
}

resource "aws_ecs_service" "edges" {
  name                               = "edges"
  cluster                            = aws_ecs_cluster.edges.id
  task_definition                    = aws_ecs_task_definition.edge.arn
  launch_type                        = "FARGATE"
  desired_count                      = var.shared.edges.min
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  enable_execute_command             = false

  network_configuration {
    subnets          = local.subnet_ids.edge
    security_groups  = [aws_security_group.tier["edge"].id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.front.arn
    container_name   = "edge"
    container_port   = local.ports.edge
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.hop.arn
    container_name   = "edge"
    container_port   = local.ports.edge
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.front, aws_lb_listener.hop, aws_vpc_endpoint.service]
}

resource "aws_appautoscaling_target" "edges" {
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.edges.name}/${aws_ecs_service.edges.name}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = var.shared.edges.min
  max_capacity       = var.shared.edges.max
}

resource "aws_appautoscaling_policy" "edges" {
  name               = "${local.name}-edges"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.edges.service_namespace
  resource_id        = aws_appautoscaling_target.edges.resource_id
  scalable_dimension = aws_appautoscaling_target.edges.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 55
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
