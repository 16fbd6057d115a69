"""From a photograph and a trimap to an alpha matte and a cut-out."""
