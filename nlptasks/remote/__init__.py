"""Models on other machines: servers that speak OpenAI's protocol, and other servers of nlptasks."""
