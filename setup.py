"""What pyproject.toml cannot say: configs and tools, which lie beside the package, go into it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHIPPED = Path('cdc_mm') / '_shipped'


class BuildWithConfigs(build_py):
    """Puts ``configs`` and ``tools`` into ``cdc_mm/_shipped`` of a wheel."""

    def run(self) -> None:
        """Build; an editable installation finds them where they are."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / SHIPPED
        shutil.rmtree(target, ignore_errors=True)
        for folder in ('configs', 'tools'):
            shutil.copytree(
                ROOT / folder, target / folder, ignore=shutil.ignore_patterns('__pycache__')
            )


setup(cmdclass=dict(build_py=BuildWithConfigs))
