# SPDX-License-Identifier: GPL-2.0
project = "vhost-net in Rust"
author = "The vhost-net-rs developers"
master_doc = "index"
extensions = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
