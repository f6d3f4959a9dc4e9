# SPDX-License-Identifier: Apache-2.0
"""Checks YAML files against the schemas of Kubernetes releases; unknown fields are errors.

Arguments: the oldest and the newest minor version, then files. Prints `N passed, N failed, 0 skipped`.
"""

import sys

import kubernetes_validate
import yaml


def main() -> int:
    oldest, newest, *files = sys.argv[1:]
    passed = failed = 0
    for name in files:
        with open(name, encoding="utf-8") as file:
            documents = [document for document in yaml.safe_load_all(file) if document]
        for document in documents:
            if document["apiVersion"].startswith("kustomize."):
                continue
            what = f"{name}: {document['kind']} {document['metadata']['name']}"
            for minor in range(int(oldest), int(newest) + 1):
                try:
                    kubernetes_validate.validate(document, f"1.{minor}", strict=True)
                    passed += 1
                except Exception as error:  # each kind of error is a failure
                    failed += 1
                    print(f"{what}, 1.{minor}: {error}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


sys.exit(main())
