"""Azure: Function Apps in the Flex Consumption plan, by two ARM templates and one deploy of a package."""
