import hashlib, os, platform, ssl, struct, sys, sysconfig, zlib

print(platform.machine(), platform.uname().machine, platform.processor(), platform.platform().split("-")[-4:], platform.architecture())
print(sysconfig.get_platform(), sysconfig.get_config_var("MULTIARCH"), sysconfig.get_config_var("EXT_SUFFIX"), sysconfig.get_config_var("SOABI"))
print(os.uname().machine, os.readlink("/proc/self/exe"), sys.executable, sys.implementation._multiarch, sys.byteorder, sys.maxsize, sys.float_info)
print(platform.libc_ver(), struct.calcsize("P"), hashlib.sha256(b"x").hexdigest(), zlib.compress(b"x" * 1000), ssl.OPENSSL_VERSION)
print(sorted(k for k in os.environ if "PYTHON" in k), sys.path, sys.flags, sys.prefix)
