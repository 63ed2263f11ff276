"""Vigil inside a Django application; run it beside the folder `demo-models`.

uvicorn --app-dir deploy/examples django_app:application
curl localhost:8000/models/v2/models/cancer
"""

import json

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from serving.embedded import Vigil
from serving.errors import VigilError
from serving.protocol.status import http_status

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["localhost", "127.0.0.1"])

vigil = Vigil(models="demo-models", data_dir=".vigil")


def home(_request: HttpRequest) -> JsonResponse:
    """Answer without any model."""
    return JsonResponse({"hello": "world"})


async def diagnosis(request: HttpRequest) -> JsonResponse:
    """Ask a model from the application's own code."""
    try:
        answer = await vigil.infer("cancer", {"x": [json.loads(request.body)]})
    except VigilError as error:
        return JsonResponse({"error": error.message}, status=http_status(error))
    malignant, benign = answer.outputs[0].data[0].tolist()
    return JsonResponse({"malignant": malignant, "benign": benign})


urlpatterns = [path("", home), path("diagnosis", diagnosis)]

# Django has no lifespan: with `beside`, that of the web server starts and stops Vigil.
application = vigil.beside(get_asgi_application(), at="/models")
