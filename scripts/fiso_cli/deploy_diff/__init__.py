"""`fiso deploy-diff`: what a deployment will change, in words, before it does: data at risk first.

sides       what is compared: a build folder, or what is deployed
resources   resources that come, go, are replaced or change, and what that means for what they hold
contents    permissions, settings and libraries
"""
