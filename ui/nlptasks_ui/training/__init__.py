"""The training page: data, check, recipe, estimate, a detached run that is watched, results, adapters."""
