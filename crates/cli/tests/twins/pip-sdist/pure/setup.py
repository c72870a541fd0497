import os, platform, sys, sysconfig
from setuptools import setup

sys.stderr.write(f"{platform.machine()} {sysconfig.get_platform()} {os.uname().machine} {sorted(k for k in os.environ if 'PYTHON' in k)}\n")
with open("/seen", "a") as seen:
    seen.write(f"{platform.machine()} {sysconfig.get_platform()} {sys.executable} {sys.argv[1:2]}\n")
setup(name="pure", version="1", packages=["pure"], entry_points={"console_scripts": ["pure = pure:main"]})
