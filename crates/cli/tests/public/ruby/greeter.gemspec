Gem::Specification.new do |spec|
  spec.name = 'greeter'
  spec.version = '1.0.0'
  spec.summary = 'greets'
  spec.authors = ['greeter']
  spec.files = ['lib/greeter.rb']
end
