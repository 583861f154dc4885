"""KEDA's objects, as far as patchgrid uses them: the fields that KEDA documents, and no others."""

from typing import Any


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _strict(
        {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": {"const": kind},
            "metadata": _strict({"name": {"type": "string"}, "namespace": {"type": "string"}}, ["name"]),
            "spec": spec,
        }
    )


def _strict(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(properties) if required is None else required,
    }


_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
#: Numbers in a trigger's metadata are strings.
_NUMBER = {"type": "string", "pattern": r"^\d+(\.\d+)?$"}

_RULES = _strict(
    {
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
        "selectPolicy": {"enum": ["Max", "Min", "Disabled"]},
        "policies": {
            "type": "array",
            "items": _strict(
                {"type": {"enum": ["Pods", "Percent"]}, "value": _COUNT, "periodSeconds": _COUNT}
            ),
        },
    },
    [],
)
_POSTGRESQL = _strict(
    {
        "query": _TEXT,
        "targetQueryValue": _NUMBER,
        "activationTargetQueryValue": _NUMBER,
        "host": _TEXT,
        "port": _TEXT,
        "userName": _TEXT,
        "dbName": _TEXT,
        "sslmode": _TEXT,
        "passwordFromEnv": _TEXT,
        "connectionFromEnv": _TEXT,
    },
    ["query", "targetQueryValue"],
)
_REDIS = _strict(
    {
        "address": _TEXT,
        "host": _TEXT,
        "port": _TEXT,
        "databaseIndex": {"type": "string", "pattern": r"^\d+$"},
        "enableTLS": {"enum": ["true", "false"]},
        "unsafeSsl": {"enum": ["true", "false"]},
        "listName": _TEXT,
        "listLength": _NUMBER,
        "activationListLength": _NUMBER,
        "addressFromEnv": _TEXT,
        "usernameFromEnv": _TEXT,
        "passwordFromEnv": _TEXT,
    },
    ["listName", "listLength"],
)


def _trigger(kind: str, metadata: dict[str, Any]) -> dict[str, Any]:
    return _strict(
        {
            "type": {"const": kind},
            "name": _TEXT,
            "metricType": {"enum": ["AverageValue", "Value"]},
            "useCachedMetrics": {"type": "boolean"},
            "metadata": metadata,
            "authenticationRef": _strict(
                {"name": _TEXT, "kind": {"enum": ["TriggerAuthentication", "ClusterTriggerAuthentication"]}},
                ["name"],
            ),
        },
        ["type", "metadata"],
    )


_TRIGGER = {"oneOf": [_trigger("postgresql", _POSTGRESQL), _trigger("redis", _REDIS)]}

#: https://keda.sh/docs/latest/reference/scaledobject-spec/ with the triggers of PostgreSQL and Redis.
SCALED_OBJECT = _object(
    "ScaledObject",
    _strict(
        {
            "scaleTargetRef": _strict(
                {"name": _TEXT, "apiVersion": _TEXT, "kind": _TEXT, "envSourceContainerName": _TEXT}, ["name"]
            ),
            "pollingInterval": {"type": "integer", "minimum": 1},
            "cooldownPeriod": _COUNT,
            "initialCooldownPeriod": _COUNT,
            "idleReplicaCount": _COUNT,
            "minReplicaCount": _COUNT,
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "fallback": _strict(
                {"failureThreshold": _COUNT, "replicas": _COUNT, "behavior": _TEXT},
                ["failureThreshold", "replicas"],
            ),
            "advanced": _strict(
                {
                    "restoreToOriginalReplicaCount": {"type": "boolean"},
                    "horizontalPodAutoscalerConfig": _strict(
                        {"name": _TEXT, "behavior": _strict({"scaleUp": _RULES, "scaleDown": _RULES}, [])}, []
                    ),
                },
                [],
            ),
            "triggers": {"type": "array", "minItems": 1, "items": _TRIGGER},
        },
        ["scaleTargetRef", "triggers"],
    ),
)
#: https://keda.sh/docs/latest/concepts/authentication/, by secrets.
TRIGGER_AUTHENTICATION = _object(
    "TriggerAuthentication",
    _strict(
        {
            "secretTargetRef": {
                "type": "array",
                "minItems": 1,
                "items": _strict(
                    {"parameter": {"enum": ["connection", "password"]}, "name": _TEXT, "key": _TEXT}
                ),
            }
        }
    ),
)
