# One of everything that the SECA provider can ask for: a machine with a disk
# made from an image of its own, on a network of its own, and who may read it.
# It is written as a customer would write it, against any region of any SECA
# cloud; only the variables know Kontor.

terraform {
  required_providers {
    seca = { source = "eu-sovereign-cloud/seca" }
  }
}

variable "url" { type = string }
variable "tenant" { type = string }
variable "region" { type = string }
variable "token" {
  type      = string
  sensitive = true
}
variable "stage" {
  description = "changed between two applies, to see an update"
  type        = string
  default     = "test"
}
variable "data_gb" {
  type    = number
  default = 1
}
variable "instance_sku" { type = string }
variable "storage_sku" { type = string }
variable "network_sku" { type = string }
variable "base_image" {
  description = "reference of the image to begin with; null begins with an empty disk"
  type        = string
  default     = null
}
variable "wishes" {
  description = "what a virtual region is to look at when it places the workspace"
  type        = map(string)
  default     = null
}

provider "seca" {
  token  = var.token
  tenant = var.tenant
  region = var.region
  global_providers = {
    region_v1        = "${var.url}/providers/seca.region"
    authorization_v1 = "${var.url}/providers/seca.authorization"
  }
  retry = {
    delay    = 0
    interval = 1
  }
}

data "seca_region" "here" { name = var.region }
data "seca_instance_sku" "size" { name = var.instance_sku }
data "seca_storage_sku" "disk" { name = var.storage_sku }
data "seca_network_sku" "net" { name = var.network_sku }

resource "seca_workspace" "shop" {
  name        = "shop"
  labels      = { stage = var.stage }
  annotations = { "about" = "made by Terraform" }
  extensions  = var.wishes
}

# Storage: a disk, an image of it, and the disk to boot from.

resource "seca_block_storage" "base" {
  name            = "base"
  workspace_id    = seca_workspace.shop.name
  sku_id          = data.seca_storage_sku.disk.id
  size_gb         = 1
  source_image_id = var.base_image
}

resource "seca_image" "golden" {
  name             = "golden"
  block_storage_id = seca_block_storage.base.id
  cpu_architecture = "amd64"
  boot             = "BIOS"
  initializer      = "cloudinit-22"
}

resource "seca_block_storage" "boot" {
  name            = "boot"
  workspace_id    = seca_workspace.shop.name
  sku_id          = data.seca_storage_sku.disk.id
  size_gb         = 2
  source_image_id = seca_image.golden.id
  labels          = { role = "boot" }
}

resource "seca_block_storage" "data" {
  name         = "data"
  workspace_id = seca_workspace.shop.name
  sku_id       = data.seca_storage_sku.disk.id
  size_gb      = var.data_gb
}

# Network: a range with a way out, and what may come in.

resource "seca_network" "net" {
  name         = "net"
  workspace_id = seca_workspace.shop.name
  sku_id       = data.seca_network_sku.net.id
  cidr         = { ipv4 = "10.40.0.0/16" }

  additional_cidrs = [{ ipv4 = "10.41.0.0/16" }]
}

resource "seca_internet_gateway" "out" {
  name         = "out"
  workspace_id = seca_workspace.shop.name
}

resource "seca_route_table" "routes" {
  name         = "routes"
  workspace_id = seca_workspace.shop.name
  network_id   = seca_network.net.name
  routes = [{
    destination_cidr_block = "0.0.0.0/0"
    target_id              = seca_internet_gateway.out.id
  }]
}

resource "seca_subnet" "front" {
  name           = "front"
  workspace_id   = seca_workspace.shop.name
  network_id     = seca_network.net.name
  cidr           = { ipv4 = "10.40.1.0/24" }
  route_table_id = seca_route_table.routes.id
}

resource "seca_public_ip" "address" {
  name         = "address"
  workspace_id = seca_workspace.shop.name
  version      = "IPv4"
}

resource "seca_nic" "card" {
  name         = "card"
  workspace_id = seca_workspace.shop.name
  subnet_id    = seca_subnet.front.id
  addresses    = ["0.0.0.0"]
}

# The provider loses track of what is left out here: all of ports and
# source_refs must be said.
resource "seca_security_group" "web" {
  name         = "web"
  workspace_id = seca_workspace.shop.name
  rules = [
    {
      direction   = "ingress"
      protocol    = "tcp"
      ports       = { from = 80, to = 80, list = [443, 8443] }
      source_refs = ["0.0.0.0/0"]
    },
    {
      direction   = "ingress"
      protocol    = "tcp"
      ports       = { from = 22, to = 22, list = [] }
      source_refs = ["192.0.2.7", "198.51.100.0/24"]
    },
  ]
}

# Compute.

resource "seca_instance" "web" {
  name              = "web"
  workspace_id      = seca_workspace.shop.name
  sku_id            = data.seca_instance_sku.size.id
  boot_volume       = { device_id = seca_block_storage.boot.id }
  data_volumes      = [{ device_id = seca_block_storage.data.id }]
  primary_nic_id    = seca_nic.card.id
  security_group_id = seca_security_group.web.id
  ssh_keys          = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl lab@kontor.example"]
  user_data         = "#!/bin/sh\necho made by Terraform > /www/index.html\n"
  labels            = { tier = "web", stage = var.stage }
}

# Authorization: one account may read the workspace.

resource "seca_role" "reader" {
  name = "reader"
  permissions = [
    { provider = "seca.compute/v1", resources = ["instances/*"], verb = ["get", "list"] },
    { provider = "seca.network/v1", resources = ["networks/*", "nics/*", "public-ips/*"], verb = ["get", "list"] },
  ]
}

resource "seca_role_assignment" "bob" {
  name  = "bob-reads-shop"
  subs  = ["bob@demo.example"]
  roles = [seca_role.reader.name]
  scopes = [{
    tenants    = [var.tenant]
    regions    = [var.region]
    workspaces = [seca_workspace.shop.name]
  }]
}
