"""The documents of answers, as OpenAPI describes them: by what they are about, as `routes` are."""
