"""A local Entra: one tenant, its Graph (`graph`) and its token endpoint (`login`). What was made is gone when it stops.
Nothing here was compared with Microsoft's own."""
