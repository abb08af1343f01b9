"Packaging, from settings.ini: the one place for names, versions and requirements."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
config = ConfigParser()
config.read(here/"settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
lines = lambda key: [line for line in settings.get(key, "").splitlines() if line.strip()]
readme = here/"README.md"

setup(
    name=settings["lib_name"], version=settings["version"], description=settings["description"],
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "", long_description_content_type="text/markdown",
    author=settings["author"], author_email=settings["author_email"], url=settings["git_url"],
    license="Apache-2.0", keywords=settings["keywords"].split(), python_requires=f">={settings['min_python']},<3.14",
    packages=find_packages(include=[settings["lib_path"], f"{settings['lib_path']}.*"]), package_data={settings["lib_path"]: ["assets/*/*"]}, zip_safe=False,
    install_requires=lines("requirements"), extras_require={"dev": lines("dev_requirements"), "landmarks": lines("landmarks_requirements"),
                                                             "gpu": lines("gpu_requirements"), "cluster": lines("cluster_requirements"),
                                                             "explore": lines("explore_requirements")},
    entry_points={"console_scripts": lines("console_scripts"), "nbdev": [f"{settings['lib_name']}={settings['lib_path']}._modidx:d"]},
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Science/Research",
                 "License :: OSI Approved :: Apache Software License",
                 *[f"Programming Language :: Python :: {v}" for v in ("3.11", "3.12", "3.13")]])
