"""What schemathesis needs to judge a response that is a text: it reads JSON alone by itself."""

import schemathesis


@schemathesis.deserializer("text/plain", "text/html")
def text(context, response):
    return response.content.decode("utf-8")
