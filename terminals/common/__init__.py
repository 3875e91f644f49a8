"""The bedrock: audit, facts, the API's manners, refusals, money. Knows no terminal."""
