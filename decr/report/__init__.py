"""What people read: pages and pictures of cloud coverage and of restorations."""
