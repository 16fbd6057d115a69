"""What every long-running command needs: configuration, run folders, errors, devices."""
