# Does the organization's policy refuse copies, and other regions?

mock_provider "aws" {}

variables {
  target_id   = "123456789012"
  aws_regions = ["us-east-1", "eu-central-1", "ap-northeast-1"]
}

run "copies_and_other_regions_are_denied" {
  command = plan

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_organizations_policy.residency.content).Statement : statement.Effect == "Deny" && statement.Resource == "*"
    ])
    error_message = "Every statement denies, and for everything."
  }

  assert {
    condition = length(setsubtract(
      ["ec2:CopySnapshot", "ec2:CopyImage", "backup:StartCopyJob", "s3:PutReplicationConfiguration", "kms:ReplicateKey", "secretsmanager:ReplicateSecretToRegions", "rds:CopyDBSnapshot"],
      jsondecode(aws_organizations_policy.residency.content).Statement[0].Action,
    )) == 0
    error_message = "An action that copies is not denied."
  }

  assert {
    condition     = jsondecode(aws_organizations_policy.residency.content).Statement[1].Condition.StringNotEquals["aws:RequestedRegion"] == ["ap-northeast-1", "eu-central-1", "us-east-1"]
    error_message = "Anything could be made in another region."
  }

  assert {
    # What AWS takes for such a policy.
    condition     = length(aws_organizations_policy.residency.content) <= 5120
    error_message = "The policy is longer than AWS takes."
  }
}

run "nothing_but_an_account_or_a_unit_is_bound" {
  command = plan

  variables {
    target_id = "r-abcd"
  }

  expect_failures = [var.target_id]
}
