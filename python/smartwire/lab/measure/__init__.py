"""The measurements that show what Smartwire must show, one scenario each (issue 2, "What it must show")."""
