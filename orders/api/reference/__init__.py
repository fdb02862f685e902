"""The reference of the API: one OpenAPI document that is made from the code, its page, and a page for each problem.

``schema`` makes the document out of what stands beside the views (drf-spectacular's decorators, serializers) and of the ``examples`` in the folder of each view.
``parameters`` has those that no serializer reads. ``problem_pages`` explains every problem. ``answered`` says which problems an operation answers. ``document`` puts
it together, ``links`` connects operations, ``compatibility`` compares two documents, and ``views`` serves them.
"""
