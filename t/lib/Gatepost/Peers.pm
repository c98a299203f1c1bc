# SPDX-License-Identifier: ISC
# Real mail servers from Debian's packages, in the roots that t/lib/peers-setup makes. Each runs in
# the foreground as a child of the test, on a free port, with everything it writes below its {dir}.
#
#   my $p = Gatepost::Peers->postfix(domains => ['postfix.test']);      # receives into Maildirs
#   my $p = Gatepost::Peers->postfix(relayhost => '[127.0.0.1]:2525');  # relays to us
#   (main => { parameter => value } over the defaults, services => further lines of master.cf)
#   my $e = Gatepost::Peers->exim(domains => [...]) or (relayhost => '127.0.0.1::2525')
#   my $d = Gatepost::Peers->dovecot(users => ['anna', 'bert']);        # LMTP: {port}, {path}
#   Exim: more => further sections of its configuration
#   my $o = Gatepost::Peers->opensmtpd(domains => [...]) or (relay => { 'a.test' => 'host "smtp+tls://…" tls' }, ca => $file)
#   Exim, Dovecot: tls => { cert, key, chain } (Gatepost::Certs) offers STARTTLS; Postfix by its parameters
#   Exim: ports => { port => { cert … } } further ports with certificates of their own; relayhost may be
#   { domain => '127.0.0.1::2525' }, out => its transport's options
#   Dovecot: relay => { port, ssl, more } submission at {submission} that relays, as submission_relay_* say
#   $p->received;     # the messages' texts, as they lie in the Maildirs
#   $p->wait_received($n);  $p->stop;  $p->start;
package Gatepost::Peers;
use strict;
use warnings;
use File::Path qw(make_path);
use Gatepost::Kit;
use IO::Socket::INET;
use Test::More ();

sub root_of {
    my ($name) = @_;
    my $root = ($ENV{GP_PEERS} // '/var/lib/gatepost-peers') . "/$name";
    die "$root is missing; t/lib/peers-setup makes it\n" if !-e "$root/.ready";
    return $root;
}

sub _new {
    my ($kind, $root, %arg) = @_;
    my $self = bless { %arg, kind => $kind, root => root_of($root), dir => tempdir($kind) },
        __PACKAGE__;
    $self->{port} //= free_port();
    return $self;
}

sub port { $_[0]{port} }
sub dir  { $_[0]{dir} }
sub log  { slurp($_[0]{log}) // '' }

sub _chown {
    my ($self, $owner, @dirs) = @_;
    make_path(@dirs);
    my ($status, $out) = run_out('chroot', $self->{root}, 'chown', '-R', $owner, @dirs);
    die "chown: $out" if $status;
}

sub start {
    my ($self) = @_;
    $self->{pid} = spawn({ out => "$self->{dir}/out" }, @{ $self->{before} // [] }, 'chroot', $self->{root}, @{ $self->{command} });
    wait_until(20, sub {
        my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Timeout => 2)
            or return;
        return (<$s> // '') =~ /^220/;
    }) or die "$self->{kind} does not answer:\n" . (slurp("$self->{dir}/out") // '') . $self->log;
    return $self;
}

sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;
    my @all = Gatepost::Kit::descendants($pid);
    # The shell that Postfix stays in the foreground with does not pass it on.
    kill 'TERM', @all;
    stop_pid($pid, 'TERM');
    for my $signal ('KILL', undef) {
        last if wait_until(5, sub { !grep { is_alive($_) } @all });
        kill $signal, @all if $signal;
    }
    return $self;
}

# ---- Postfix ----

sub postfix {
    my ($class, %arg) = @_;
    my $self = _new('postfix', 'postfix', %arg);
    my $dir = $self->{dir};
    make_path("$dir/etc", "$dir/queue");
    $self->_chown('postfix', "$dir/data");
    $self->_chown('nobody', "$dir/mail");
    my @domains = @{ $arg{domains} // [] };
    my %cf = (
        compatibility_level => '3.6', queue_directory => "$dir/queue", data_directory => "$dir/data",
        maillog_file => "$dir/log", maillog_file_prefixes => '/tmp', myhostname => 'postfix.test',
        mydestination => '', mynetworks => '127.0.0.0/8', inet_interfaces => '127.0.0.1',
        inet_protocols => 'ipv4', alias_maps => '', smtpd_peername_lookup => 'no',
        virtual_mailbox_domains => join(' ', @domains), virtual_mailbox_base => "$dir/mail",
        virtual_mailbox_maps => 'static:all/', virtual_uid_maps => 'static:65534',
        virtual_gid_maps => 'static:65534', virtual_minimum_uid => 100,
        smtpd_recipient_restrictions => 'permit_mynetworks, reject', disable_dns_lookups => 'yes',
        minimal_backoff_time => '1s', maximal_backoff_time => '2s', queue_run_delay => '1s',
        mailbox_size_limit => 0, message_size_limit => 50_000_000, virtual_mailbox_limit => 0,
        ($arg{relayhost} ? (relayhost => $arg{relayhost}) : ()), %{ $arg{main} // {} });
    spew("$dir/etc/main.cf", join '', map {"$_ = $cf{$_}\n"} sort keys %cf);
    spew("$dir/etc/master.cf", join '', map {"$_\n"} "127.0.0.1:$self->{port} inet n - n - - smtpd",
        'cleanup unix n - n - 0 cleanup', 'qmgr unix n - n 1 1 qmgr',
        'rewrite unix - - n - - trivial-rewrite', 'bounce unix - - n - 0 bounce',
        'defer unix - - n - 0 bounce', 'trace unix - - n - 0 bounce',
        'proxymap unix - - n - - proxymap', 'smtp unix - - n - - smtp', 'relay unix - - n - - smtp',
        'error unix - - n - - error', 'retry unix - - n - - error', 'virtual unix - n n - - virtual',
        'anvil unix - - n - 1 anvil', 'scache unix - - n - 1 scache',
        'tlsmgr unix - - n 1000? 1 tlsmgr', 'postlog unix-dgram n - n - 1 postlogd',
        @{ $arg{services} // [] });
    $self->{log} = "$dir/log";
    $self->{maildirs} = ["$dir/mail/all"];
    $self->{command} = ['postfix', '-c', "$dir/etc", 'start-fg'];
    return $self->start;
}

# ---- Exim ----

sub exim {
    my ($class, %arg) = @_;
    my $self = _new('exim', 'exim', %arg);
    my $dir = $self->{dir};
    $self->_chown('Debian-exim', "$dir/spool", "$dir/log", "$dir/mail");
    my $domains = join ' : ', @{ $arg{domains} // [] };
    my %route = ref $arg{relayhost} ? %{ $arg{relayhost} } : $arg{relayhost} ? ('*' => $arg{relayhost}) : ();
    my $list = join ' ; ', map {"$_ $route{$_} byname"} sort keys %route;
    my $options = join '', map {"  $_\n"} @{ $arg{out} // [] };
    my %cert = (($arg{tls} ? ($self->{port} => $arg{tls}) : ()), %{ $arg{ports} // {} });
    for my $what (qw(chain key)) {
        spew("$dir/$what.of", join '', map {"$_: $cert{$_}{$what}\n"} sort keys %cert);
    }
    my $ports = join ' : ', $self->{port}, sort keys %{ $arg{ports} // {} };
    my $relay = %route ? <<"END" : '';
out:
  driver = manualroute
  route_list = $list
  transport = out
  self = send
END
    my $tls = !$arg{tls} ? 'tls_advertise_hosts =' : join "\n", 'tls_advertise_hosts = *',
        "tls_certificate = \${lookup{\$received_port}lsearch{$dir/chain.of}}",
        "tls_privatekey = \${lookup{\$received_port}lsearch{$dir/key.of}}", @{ $arg{tls}{more} // [] };
    spew("$dir/exim.conf", <<"END");
exim_path = /usr/sbin/exim4
deliver_drop_privilege = true
primary_hostname = exim.test
spool_directory = $dir/spool
log_file_path = $dir/log/%slog
pid_file_path =
local_interfaces = 127.0.0.1
daemon_smtp_ports = $ports
domainlist local = $domains
hostlist relay = 127.0.0.1
host_lookup =
rfc1413_query_timeout = 0s
chunking_advertise_hosts = *
pipelining_connect_advertise_hosts =
$tls
smtp_enforce_sync = true
message_size_limit = 50M
smtp_accept_max = 200
never_users =
queue_run_in_order
acl_smtp_rcpt = take
acl_smtp_data = take
begin acl
take:
  accept
begin routers
in:
  driver = accept
  domains = +local
  transport = in
$relay
begin transports
in:
  driver = appendfile
  directory = $dir/mail/all
  maildir_format
  create_directory
  user = Debian-exim
  envelope_to_add
  return_path_add
out:
  driver = smtp
  allow_localhost
  hosts_try_fastopen =
${options}begin retry
* * F,1h,1s
@{[ $arg{more} // '' ]}
END
    $self->{log} = "$dir/log/mainlog";
    $self->{maildirs} = ["$dir/mail/all"];
    $self->{command} = ['/usr/sbin/exim4', '-C', "$dir/exim.conf", '-bdf', '-q1s'];
    return $self->start;
}

# ---- Dovecot ----

sub dovecot {
    my ($class, %arg) = @_;
    my $self = _new('dovecot', 'postfix', %arg);
    my $dir = $self->{dir};
    $self->_chown('nobody', "$dir/mail");
    make_path("$dir/run");
    spew("$dir/users", join '', map {"$_:{PLAIN}secret::::::\n"} @{ $arg{users} // ['anna'] });
    $self->{path} = "$dir/lmtp";
    $self->{imap} = free_port();
    my $tls = $arg{tls} ? "ssl = yes\nssl_cert = <$arg{tls}{chain}\nssl_key = <$arg{tls}{key}" : 'ssl = no';
    my $submission = '';
    if (my $r = $arg{relay}) {
        $self->{submission} = free_port();
        $submission = join "\n", 'protocols = lmtp imap submission', 'hostname = dovecot.test', 'submission_relay_host = localhost',
            "submission_relay_port = $r->{port}", "submission_relay_ssl = $r->{ssl}", @{ $r->{more} // [] },
            "service submission-login {\n  inet_listener submission {\n    address = 127.0.0.1\n    port = $self->{submission}\n  }\n}";
    }
    spew("$dir/dovecot.conf", <<"END");
base_dir = $dir/run
state_dir = $dir/run
log_path = $dir/log
info_log_path = $dir/log
protocols = lmtp imap
listen = 127.0.0.1
$tls
disable_plaintext_auth = no
mail_location = maildir:$dir/mail/%n
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 100
first_valid_gid = 100
auth_username_format = %Ln
lmtp_save_to_detail_mailbox = no
recipient_delimiter = +
default_internal_user = dovecot
default_login_user = dovenull
passdb {
  driver = passwd-file
  args = $dir/users
}
userdb {
  driver = passwd-file
  args = $dir/users
  default_fields = uid=65534 gid=65534 home=$dir/mail/%n
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = $self->{port}
  }
  unix_listener $self->{path} {
    mode = 0666
  }
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = $self->{imap}
  }
  inet_listener imaps {
    port = 0
  }
}
$submission
END
    $self->{log} = "$dir/log";
    $self->{maildirs} = [map {"$dir/mail/$_"} @{ $arg{users} // ['anna'] }];
    $self->{command} = ['dovecot', '-F', '-c', "$dir/dovecot.conf"];
    return $self->start;
}

# ---- OpenSMTPD ----

# Its spool and its socket have fixed places: each instance has file systems of its own there. As a TLS server
# the package of Debian 12 fails with OpenSSL 3 ("EVP lib") whatever its key is; as a client it works.
sub opensmtpd {
    my ($class, %arg) = @_;
    my $self = _new('opensmtpd', 'opensmtpd', %arg);
    my ($dir, $root) = @$self{qw(dir root)};
    $self->_chown('nobody', "$dir/mail");
    my %relay = %{ $arg{relay} // {} };
    my @lines = ('table all { "@" = "nobody" }');
    push @lines, "listen on 127.0.0.1 port $self->{port} hostname opensmtpd.test", qq(action "in" maildir "$dir/mail/all" virtual <all>),
        (map { $_ eq '*' ? 'match from any for any action "in"' : qq(match from any for domain "$_" action "in") } @{ $arg{domains} // [] }),
        map { (qq(action "$_" relay $relay{$_}), qq(match from any for domain "$_" action "$_")) } sort keys %relay;
    spew("$dir/smtpd.conf", join '', map {"$_\n"} @lines);
    $self->{log} = "$dir/out";
    $self->{maildirs} = ["$dir/mail/all"];
    my $mounts = join ' && ', 'mkdir -p "$0/var/spool/smtpd"', 'mount -t tmpfs -o mode=711 x "$0/var/spool/smtpd"', 'mount -t tmpfs -o mode=755 x "$0/run"',
        $arg{ca} ? qq(mount --bind "$arg{ca}" "\$0/etc/ssl/certs/ca-certificates.crt") : ();
    $self->{before} = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', qq($mounts && exec "\$\@"), $root];
    $self->{command} = ['smtpd', '-d', '-f', "$dir/smtpd.conf"];
    return $self->start;
}

# ---- what they got ----

sub received {
    my ($self, $user) = @_;
    my @dirs = $user ? "$self->{dir}/mail/$user" : @{ $self->{maildirs} };
    return map { slurp($_) } sort map { glob "$_/new/*" } @dirs;
}

sub wait_received {
    my ($self, $n, $seconds) = @_;
    wait_until($seconds // 20, sub {
        my @files = map { glob "$_/new/*" } @{ $self->{maildirs} };
        return @files >= $n;
    });
    return $self->received;
}

1;
