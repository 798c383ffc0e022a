# What nobody may do to a region's data, in one place: the roles of this module have it in their
# boundary, and an organization can have it for everybody (modules/guardrails).

output "actions" {
  description = "Actions that copy data out of its region, or hand it to another account."
  value = [
    # Disks, snapshots and machine images.
    "ec2:CopySnapshot",
    "ec2:CopyImage",
    "ec2:CreateStoreImageTask",
    "ec2:ExportImage",
    "ec2:CreateInstanceExportTask",
    "ec2:ModifySnapshotAttribute",
    "ec2:ModifyImageAttribute",
    "ebs:GetSnapshotBlock",
    "ebs:ListSnapshotBlocks",
    "ebs:ListChangedBlocks",
    # Backups.
    "backup:CopyFromBackupVault",
    "backup:CopyIntoBackupVault",
    "backup:StartCopyJob",
    # Archived log and base backups.
    "s3:PutReplicationConfiguration",
    "s3:ReplicateObject",
    "s3:CreateMultiRegionAccessPoint",
    "s3:PutBucketAcl",
    "s3:PutObjectAcl",
    # Keys and secrets.
    "kms:ReplicateKey",
    "kms:UpdatePrimaryRegion",
    "secretsmanager:ReplicateSecretToRegions",
    # Databases, should anybody begin to use managed ones.
    "rds:CopyDBSnapshot",
    "rds:CopyDBClusterSnapshot",
    "rds:ModifyDBSnapshotAttribute",
    "rds:ModifyDBClusterSnapshotAttribute",
    "rds:StartDBInstanceAutomatedBackupsReplication",
    "rds:StartExportTask",
    "rds:CreateGlobalCluster",
    # Logs and images of containers.
    "logs:CreateExportTask",
    "logs:CreateDelivery",
    "logs:PutDestination",
    "ecr:PutReplicationConfiguration",
  ]
}
